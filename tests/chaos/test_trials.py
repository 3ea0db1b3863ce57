"""A few minutes of fault injection; and the controls, of which the harness has to see what is wrong with each."""

from collections.abc import Callable

import pytest

from chaos.plan import build_plans
from chaos.provoke import PROVOCATIONS
from chaos.scenarios import (
    agents,
    ambiguous,
    claims,
    database,
    disk,
    doubles,
    drops,
    kills,
    mixed,
    outage,
    points,
    slurm,
    stale,
    torn,
    writes,
)
from chaos.stream import KINDS, Kind
from chaos.strike import Walk
from chaos.table import render_findings
from chaos.trial import Result, Setup, open_trial
from lab.standin_control import running_standin

pytestmark = [pytest.mark.long, pytest.mark.standin, pytest.mark.timeout(400)]
STOPPED = tuple(kind for kind in KINDS if kind.cancel_when == "running")
Scenario = Callable[[Setup, int | None], Result]


def run(name: str, scenario: Scenario, faults: int, *, control: str = "", kinds: tuple[Kind, ...] = KINDS) -> Result:
    with running_standin(min_job_age_s=10, kill_wait_s=1, accounting=False) as opened:
        patience_s = 20.0 if control else 200.0
        return scenario(Setup(name, 1, opened, kinds=kinds, control=control, end_within_s=patience_s, tasks=30), faults)


@pytest.mark.parametrize(
    ("name", "scenario", "faults"),
    [
        ("points", points.run, 40),
        ("kills", kills.run, 25),
        ("ambiguous", ambiguous.run, 25),
        ("doubles", doubles.run, 15),
        ("agents", agents.run, 12),
        ("outage", outage.run, 1),
        ("drops", drops.run, 1),
        ("claims", claims.run, 100),
        ("slurm", slurm.run, 15),
        ("mixed", mixed.run, 12),
        ("disk", disk.run, 2),
        ("writes", writes.run, 16),
        ("torn", torn.run, 30),
        ("database", database.run, 6),
        ("stale", stale.run, 20),
    ],
)
def test_nothing_is_lost_and_nothing_starts_twice(name: str, scenario: Scenario, faults: int) -> None:
    result = run(name, scenario, faults)

    assert result.judgement.is_clean, render_findings([result])
    assert result.faults >= faults
    assert result.missed == []
    assert result.tasks >= 6  # as many as there are clients


def test_what_the_mixed_load_seldom_does_is_provoked() -> None:
    plans = [plan for plan in build_plans(1, 1) if plan.point.name in PROVOCATIONS and plan.when == "after"]
    with (
        running_standin(min_job_age_s=10, kill_wait_s=1, accounting=False) as slurm,
        open_trial(Setup("provoked", 1, slurm, end_within_s=200.0)) as trial,
    ):
        Walk(plans, trial).run()

    assert trial.result.judgement.is_clean, render_findings([trial.result])
    assert (trial.result.faults, trial.result.missed) == (len(plans), [])


@pytest.mark.parametrize(
    ("control", "scenario", "faults", "verdicts"),
    [
        ("no-claim", doubles.run, 10, {"twice"}),
        ("no-fence", ambiguous.run, 12, {"twice"}),
        ("slurms-word", doubles.run, 25, {"wrong"}),
        ("cancel-in-memory", kills.run, 2, {"lost", "wrong"}),
    ],
)
def test_the_harness_sees_what_a_product_without_a_rule_does(
    control: str, scenario: Scenario, faults: int, verdicts: set[str]
) -> None:
    kinds = STOPPED if control == "cancel-in-memory" else KINDS
    judgement = run("control", scenario, faults, control=control, kinds=kinds).judgement

    assert verdicts & {kind for kind in ("lost", "twice", "wrong") if getattr(judgement, kind)}
