"""Prints results: a row a scenario, and every finding with the command that replays it alone."""

from collections.abc import Sequence

from chaos.trial import Result

__all__ = ["render_findings", "render_table"]

_COLUMNS = (
    "scenario", "Slurm", "seeds", "tasks", "faults", "of them kills", "lost", "started twice", "wrong end",
    "honestly lost", "jobs wasted", "recovered within",
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
        sum(row.wasted for row in rows),
        f"{max(row.recover_s for row in rows):.0f} s",
    )  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def render_findings(results: Sequence[Result]) -> str:
    """Render what was wrong, and how to see it again; what was planned and never reached."""
    lines = []
    for result in results:
        for kind in ("lost", "twice", "wrong"):
            lines += [f"{result.scenario} {result.seed}: {kind}: {each}" for each in getattr(result.judgement, kind)]
        if not result.is_clean:
            lines.append(f"again: make chaos CHAOS='{result.scenario} --seed {result.seed}'")
        lines += [f"{result.scenario} {result.seed}: not reached: {each}" for each in result.missed]
    return "\n".join(lines)
