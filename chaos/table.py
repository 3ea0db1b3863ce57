"""Prints results: a row a scenario, every finding, and the command that replays its seed alone."""

import re
from collections import Counter
from collections.abc import Sequence

from agent.settings import Waits
from chaos.product.house import WAITS
from chaos.trial import Result

__all__ = ["render_again", "render_findings", "render_table", "render_waits"]

_COLUMNS = (
    "scenario", "Slurm", "seeds", "tasks", "faults", "of them kills", "lost", "started twice", "wrong end",
    "honestly lost", "jobs wasted", "recovered within", "notes",
)  # fmt: skip


def render_table(results: Sequence[Result]) -> str:
    """Render the results, those of one scenario and Slurm as one row."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.scenario, result.slurm), []).append(result)
    head = [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
    return "\n".join([*head, *(_render_row(name, slurm, rows) for (name, slurm), rows in groups.items())])


def _render_row(name: str, slurm: str, rows: Sequence[Result]) -> str:
    found = [row.judgement for row in rows]
    seeds = sorted(row.seed for row in rows)
    cells = (
        name, slurm, f"{seeds[0]}-{seeds[-1]}" if len(seeds) > 1 else str(seeds[0]), sum(row.tasks for row in rows),
        sum(row.faults for row in rows), sum(row.kills for row in rows),
        sum(len(each.lost) for each in found), sum(len(each.twice) for each in found),
        sum(len(each.wrong) for each in found), sum(each.honest for each in found),
        _render_wasted(sum(row.wasted for row in rows), sum(row.doubts for row in rows)),
        f"{max(row.recover_s for row in rows):.0f} s", _render_notes(rows),
    )  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def _render_notes(rows: Sequence[Result]) -> str:
    counted = sum((row.counts for row in rows), Counter[str]())
    gap_s = max(row.longest_gap_s for row in rows)
    gap = [f"longest gap {gap_s:.1f} s"] if gap_s else []
    waits = [f"{name} is {seconds:g}" for name, seconds in rows[0].waits.items()]
    return ", ".join([*waits, *gap, *(f"{number} {word}" for word, number in counted.items())])


def _render_wasted(wasted: int, doubts: int) -> str:
    return f"{wasted} ({wasted / doubts:.2%} of {doubts} calls in doubt)" if doubts else str(wasted)


def render_waits() -> str:
    """Say which of the protocol's waits are shorter here than the product's, in seconds."""
    product = Waits().model_dump()
    here = {name: float(value) for name, value in re.findall(r"^(\w+) = ([\d.]+)$", WAITS, re.MULTILINE)}
    return "Waits in seconds, and the product's: " + ", ".join(
        f"{name} {value:g} ({product[name]:g})" for name, value in here.items()
    )


def render_again(scenario: str, seed: int, options: str) -> str:
    """Render the command that replays a seed alone. options: all the others that it was given."""
    return f"again: make chaos CHAOS='{scenario} --seed {seed}{options}'"


def render_findings(results: Sequence[Result], options: str = "") -> str:
    """Render what was wrong, what was planned and never reached, and how to see it again."""
    lines = []
    for result in results:
        for kind in ("lost", "twice", "wrong"):
            lines += [f"{result.scenario} {result.seed}: {kind}: {each}" for each in getattr(result.judgement, kind)]
        lines += [f"{result.scenario} {result.seed}: not reached: {each}" for each in result.missed]
        if result.missed or not result.is_clean:
            lines.append(render_again(result.scenario, result.seed, options))
    return "\n".join(lines)
