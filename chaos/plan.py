"""One planned fault: at which point, before or after its effect, and whether the process dies or the call fails.

A plan is a file in the house's folder of plans. Whoever passes the point renames it away first, so it strikes once,
in whatever process that is.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chaos.points import NEVER_RETURN, POINTS, Point, Role

__all__ = ["Act", "Plan", "When", "build_plans", "fired_path", "plan_path", "read_victim", "set_plan"]

When = Literal["before", "after"]
Act = Literal["kill", "fail"]


@dataclass(frozen=True)
class Plan:
    """`kill`: the process gets SIGKILL. `fail`: the call raises, before or after its effect."""

    point: Point
    when: When
    act: Act

    def __str__(self) -> str:
        return f"{self.act} {self.when} {self.point.name}"


def build_plans(seed: int, repeats: int, points: Sequence[Point] = POINTS) -> list[Plan]:
    """Every point with every outcome, `repeats` times, in an order that the seed decides."""
    plans = [plan for point in points for plan in _outcomes(point)] * repeats
    random.Random(seed).shuffle(plans)  # noqa: S311 - a plan that can be replayed, no secret
    return plans


def _outcomes(point: Point) -> list[Plan]:
    outcomes = [Plan(point, "before", "kill")]
    if point.name not in NEVER_RETURN:
        outcomes.append(Plan(point, "after", "kill"))
    if point.role != "wrapper":  # its commands are made to fail one level below, by a preloaded shim
        outcomes += [Plan(point, "before", "fail"), Plan(point, "after", "fail")]
    return outcomes


def plan_path(folder: Path, role: Role) -> Path:
    """Where the plan lies that a process of this role looks for."""
    return folder / f"{role}.plan"


def fired_path(folder: Path, role: Role) -> Path:
    """Where a plan lies that has struck; a wrapper adds its task's id to the name."""
    return folder / f"{role}.fired"


def set_plan(folder: Path, plan: Plan) -> None:
    """Put a plan in place for whoever passes its point next; one of the same role that has not struck goes."""
    role = plan.point.role
    for old in folder.glob(f"{role}.fired*"):
        old.unlink()
    name = plan.point.target if role == "wrapper" else plan.point.name
    building = folder / f".{role}.plan"
    building.write_text(f"{name} {plan.when} {plan.act}\n", encoding="ascii")
    building.replace(plan_path(folder, role))


def read_victim(folder: Path, role: Role) -> str | None:
    """None: not struck yet. Else the id of the task whose wrapper was struck; nothing for another role."""
    found = list(folder.glob(f"{role}.fired*"))
    return found[0].name.removeprefix(f"{role}.fired").lstrip(".") if found else None
