"""A few minutes of fault injection; and the controls, of which the harness has to see what is wrong with each."""

from collections.abc import Callable

import pytest

from chaos.scenarios import agents, ambiguous, doubles, kills, points
from chaos.stream import KINDS, Kind
from chaos.table import render_findings
from chaos.trial import Result, Setup
from lab.standin_control import running_standin

pytestmark = [pytest.mark.long, pytest.mark.standin, pytest.mark.timeout(400)]
STOPPED = tuple(kind for kind in KINDS if kind.cancel_when == "running")
Scenario = Callable[[Setup, int | None], Result]


def run(name: str, scenario: Scenario, faults: int, *, control: str = "", kinds: tuple[Kind, ...] = KINDS) -> Result:
    with running_standin(min_job_age_s=10, kill_wait_s=1, accounting=False) as slurm:
        patience_s = 30.0 if control else 200.0
        return scenario(Setup(name, 1, slurm, kinds=kinds, control=control, end_within_s=patience_s), faults)


@pytest.mark.parametrize(
    ("name", "scenario", "faults"),
    [
        ("points", points.run, 40),
        ("kills", kills.run, 25),
        ("ambiguous", ambiguous.run, 40),
        ("doubles", doubles.run, 15),
        ("agents", agents.run, 12),
    ],
)
def test_nothing_is_lost_and_nothing_starts_twice(name: str, scenario: Scenario, faults: int) -> None:
    result = run(name, scenario, faults)

    assert result.judgement.is_clean, render_findings([result])
    assert result.faults + len(result.missed) >= faults
    assert result.faults >= faults // 2
    assert result.tasks >= 10


@pytest.mark.parametrize(
    ("control", "scenario", "faults", "verdicts"),
    [
        ("no-claim", doubles.run, 10, {"twice"}),
        ("no-fence", ambiguous.run, 40, {"lost", "twice"}),
        ("slurms-word", doubles.run, 10, {"wrong"}),
        ("cancel-in-memory", kills.run, 2, {"lost", "wrong"}),
    ],
)
def test_the_harness_sees_what_a_product_without_a_rule_does(
    control: str, scenario: Scenario, faults: int, verdicts: set[str]
) -> None:
    kinds = STOPPED if control == "cancel-in-memory" else KINDS
    judgement = run("control", scenario, faults, control=control, kinds=kinds).judgement

    assert verdicts & {kind for kind in ("lost", "twice", "wrong") if getattr(judgement, kind)}
