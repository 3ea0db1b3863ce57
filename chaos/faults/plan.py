"""One planned fault: at which point, before or after its effect, and whether the process dies or the call fails.

A plan is a file in the house's folder of plans, named after its point. Whoever passes the point renames it away first,
so it strikes once, in whatever process that is; many may lie there at once.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chaos.faults.points import NEVER_RETURN, POINTS, Point

__all__ = ["Act", "Plan", "When", "build_plans", "fired_path", "plan_path", "read_victim", "set_plan", "take_back"]

When = Literal["before", "after"]
Act = Literal["kill", "fail", "stop"]


@dataclass(frozen=True)
class Plan:
    """`kill`: the process gets SIGKILL. `stop`: SIGSTOP. `fail`: the call raises, before or after its effect."""

    point: Point
    when: When
    act: Act

    def __str__(self) -> str:
        return f"{self.act} {self.when} {self.point.name}"


def build_plans(seed: int, repeats: int, points: Sequence[Point] = POINTS) -> list[Plan]:
    """Every point with every outcome, `repeats` times over, each time in another order that the seed decides."""
    rng = random.Random(seed)  # noqa: S311 - a plan that can be replayed, no secret
    once = [plan for point in points for plan in _outcomes(point)]
    return [plan for _ in range(repeats) for plan in rng.sample(once, len(once))]


def _outcomes(point: Point) -> list[Plan]:
    outcomes = [Plan(point, "before", "kill")]
    if point.name not in NEVER_RETURN:
        outcomes.append(Plan(point, "after", "kill"))
    if point.role != "wrapper":  # its writes fail one level below, in the scenario `writes` (docs/decisions/0015)
        outcomes += [Plan(point, "before", "fail"), Plan(point, "after", "fail")]
    return outcomes


def plan_path(folder: Path, point: str, when: When) -> Path:
    """Where the plan for a point lies, by the point's name."""
    return folder / f"{point}.{when}.plan"


def fired_path(folder: Path, point: str, when: When, victim: str) -> Path:
    """Where a plan lies that has struck. victim: the process's pid; of a wrapper its task's id."""
    return folder / f"{point}.{when}.fired.{victim}"


def set_plan(folder: Path, plan: Plan) -> None:
    """Put a plan in place for whoever passes its point next; that one has struck there before is forgotten."""
    for old in _list_fired(folder, plan):
        old.unlink()
    path = plan_path(folder, plan.point.name, plan.when)
    building = path.with_name(f".{path.name}")
    building.write_text(plan.act, encoding="ascii")
    building.replace(path)


def take_back(folder: Path, plan: Plan) -> bool:
    """Take a plan away that has not struck; False if it just has."""
    try:
        plan_path(folder, plan.point.name, plan.when).unlink()
    except FileNotFoundError:
        return False
    return True


def read_victim(folder: Path, plan: Plan) -> str | None:
    """None: not struck yet. Else the pid of the process that was struck, of a wrapper its task's id."""
    if plan_path(folder, plan.point.name, plan.when).exists():
        return None
    return next((path.name.rpartition(".fired.")[2] for path in _list_fired(folder, plan)), None)


def _list_fired(folder: Path, plan: Plan) -> list[Path]:
    return list(folder.glob(f"{plan.point.name}.{plan.when}.fired.*"))
