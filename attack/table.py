"""Prints results: a row a scenario, what was reached, and the command that repeats a scenario alone."""

from collections.abc import Sequence

from attack.trial import Result, Tally

__all__ = ["render_findings", "render_table"]

_COLUMNS = ("scenario", "threats", "what it tries", "tries", "refused", "control", "notes")
_MAX_SHOWN = 5


def render_table(results: Sequence[Result]) -> str:
    """Render a row for each result."""
    head = [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
    return "\n".join([*head, *map(_render_row, results)])


def _render_row(result: Result) -> str:
    attack = result.attack
    cells = (
        result.name, result.scenario.threats, result.scenario.tries_to, f"{attack.tries:,}",
        _render_refused(attack), _render_control(result),
        ", ".join(f"{number:,} {name}" for name, number in attack.counts.items()),
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _render_refused(attack: Tally) -> str:
    if attack.broke_off:
        return "BROKE OFF"
    refused = attack.tries - len(attack.reached)
    return "all" if attack.tries and not attack.reached else f"{refused:,}, {len(attack.reached):,} REACHED"


def _render_control(result: Result) -> str:
    if result.control.broke_off:
        return "BROKE OFF"
    count = f"{len(result.control.reached):,} of {result.control.tries:,} reached"
    return count if result.is_proved else f"{count}: PROVES NOTHING"


def render_findings(result: Result, seed: int) -> str:
    """Render what was reached, what broke off, if it proves nothing, and how to see it again. "" if all is well."""
    found = [f"reached: {each}" for each in result.attack.reached[:_MAX_SHOWN]]
    if not result.attack.tries and not result.attack.broke_off:
        found.append("nothing was tried")
    for kind, tally in (("attack", result.attack), ("control", result.control)):
        found += [f"the {kind} broke off:\n{tally.broke_off}"] if tally.broke_off else []
    if not result.is_proved:
        found.append("the attack proves nothing: it does not succeed often enough without the guard")
    lines = [f"{result.name}: {each}\n" for each in found]
    return "".join([*lines, f"again: make attack ATTACK='{result.name} --seed {seed}'\n"] if lines else [])
