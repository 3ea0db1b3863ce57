"""A few minutes of fault injection; and the controls, of which the harness has to see what is wrong with each."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from chaos.faults.plan import Plan, build_plans
from chaos.faults.points import POINTS
from chaos.load.stream import KINDS
from chaos.run import SCENARIOS
from chaos.strikes.provoke import PROVOCATIONS
from chaos.strikes.strike import Walk
from chaos.table import render_findings
from chaos.trial import Result, Setup, open_trial
from lab.processes import wait_until
from lab.standin.control import running_standin

pytestmark = [pytest.mark.long, pytest.mark.standin, pytest.mark.timeout(400)]
# Whose cancel is lost ends by itself, so that the trial does.
STOPPED = tuple(replace(kind, code="time.sleep(20)") for kind in KINDS if kind.cancel_when == "running")
Scenario = Callable[[Setup, int | None], Result]


def run(name: str, scenario: Scenario, faults: int, *, control: str = "", seed: int = 1, clients: int = 6) -> Result:
    with running_standin(min_job_age_s=10, kill_wait_s=1, accounting=False) as opened:
        timeout_s = 20.0 if control else 200.0
        setup = Setup(name, seed, opened, clients=clients, control=control, end_within_s=timeout_s, tasks=30)
        return scenario(setup, faults)


def kill_after_acknowledgements(setup: Setup, faults: int | None) -> Result:
    """Kill the agent so often right after the gateway has heard that a cancel of a running task is done."""
    (point,) = (point for point in POINTS if point.name == "agent.acknowledge")
    with open_trial(replace(setup, kinds=STOPPED)) as trial:
        Walk([Plan(point, "after", "kill")] * (faults or 0), trial).run()
        assert wait_until(lambda: len(trial.stream.expected) >= 2, timeout_s=30)
    return trial.result


@pytest.mark.parametrize(
    ("name", "faults"),
    [
        ("points", 40),
        ("kills", 25),
        ("ambiguous", 25),
        ("doubles", 15),
        ("agents", 12),
        ("outage", 1),
        ("drops", 1),
        ("claims", 100),
        ("slurm", 15),
        ("mixed", 8),
        ("disk", 2),
        ("writes", 16),
        ("torn", 30),
        ("database", 6),
        ("stale", 20),
    ],
)
def test_nothing_is_lost_and_nothing_starts_twice(name: str, faults: int) -> None:
    result = run(name, SCENARIOS[name], faults)

    assert result.judgement.is_clean, render_findings([result])
    assert result.faults >= faults
    assert result.missed == []
    assert result.tasks >= 6  # as many as there are clients


def test_a_job_that_slurm_hears_of_after_the_fence_does_nothing() -> None:
    result = run("late", SCENARIOS["late"], 8, clients=8)

    assert result.judgement.is_clean, render_findings([result])
    assert result.missed == []
    assert (result.doubts, result.tasks) == (8, 8)
    assert result.faults >= 4  # on a slow machine a fence may come later than the job


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
        ("no-claim", SCENARIOS["doubles"], 10, {"twice"}),
        ("no-fence", SCENARIOS["late"], 6, {"twice"}),
        ("slurms-word", SCENARIOS["doubles"], 25, {"wrong"}),
        ("cancel-in-memory", kill_after_acknowledgements, 2, {"lost", "wrong"}),
    ],
)
def test_the_harness_sees_what_a_product_without_a_rule_does(
    control: str, scenario: Scenario, faults: int, verdicts: set[str]
) -> None:
    judgement = run("control", scenario, faults, control=control).judgement

    assert verdicts & {kind for kind in ("lost", "twice", "wrong") if getattr(judgement, kind)}


def test_a_cancel_in_memory_does_no_harm_until_the_agent_is_killed() -> None:
    result = run("control", kill_after_acknowledgements, 0, control="cancel-in-memory")

    assert result.judgement.is_clean, render_findings([result])
    assert result.tasks >= 2
