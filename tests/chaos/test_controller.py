"""The daemons of a real Slurm are killed: no task is lost, no foreign job touched."""

from collections.abc import Iterator

import pytest

from chaos.faults.points import POINTS
from chaos.load.stream import Kind
from chaos.real_slurm import controller, daemons, handovers
from chaos.real_slurm.foreign import ForeignJob, leave_out_foreign
from chaos.real_slurm.slurm_log import LogLine
from chaos.table import render_findings
from chaos.trial import Setup
from lab.slurm.cluster import running_lab
from lab.slurm.layout import Lab
from lab.standin.control import Standin

KINDS = (Kind("good", frozenset({"succeeded"}), weight=3), Kind("dropped", frozenset({"succeeded"}), way="drop"))


@pytest.fixture
def lab() -> Iterator[Lab]:
    with running_lab(min_job_age_s=10, kill_wait_s=5, slurmd_timeout_s=30) as opened:
        yield opened


@pytest.mark.slurm
@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_controller_that_crashes_loses_no_task_and_no_foreign_job_is_touched(lab: Lab) -> None:
    result = controller.run(Setup("controller", 1, lab, kinds=KINDS, clients=3, end_within_s=200.0), 3)

    assert result.judgement.is_clean, render_findings([result])
    assert result.faults == 3
    assert result.tasks >= 3
    assert result.counts["foreign jobs"] > 0


@pytest.mark.slurm
@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_daemon_may_die_while_the_agent_or_a_job_stands_at_a_step(lab: Lab) -> None:
    result = daemons.run(Setup("daemons", 10, lab, kinds=KINDS, clients=6, end_within_s=200.0), 4)

    assert result.judgement.is_clean, render_findings([result])
    assert (result.faults, result.missed) == (4, [])
    assert result.kills == 4
    assert len(result.counts) >= 2


def test_each_step_of_the_wrapper_is_met_by_the_death_of_either_daemon() -> None:
    planned = {(death.daemon, death.plan.point.name, death.plan.when) for death in daemons.build_deaths(1)}
    steps = [point.name for point in POINTS if point.role == "wrapper"]

    assert planned >= {(daemon, step, "before") for daemon in ("slurmctld", "slurmd") for step in steps}
    assert planned >= {
        ("slurmctld", f"agent.{step}", when) for step in ("sbatch", "squeue") for when in ("before", "after")
    }


@pytest.mark.parametrize(("at_s", "counts"), [(94.9, False), (95.0, True), (100.0, True), (100.1, False)])
def test_a_crash_counts_only_within_seconds_of_a_job_of_ours(at_s: float, counts: bool) -> None:
    ours = LogLine("accepted", "8", at_s)
    theirs, asking = ForeignJob("other-1", "7", asked_s=98.0, answered_s=99.0), (96.0, 97.0)
    log = [LogLine("accepted", "7", 98.5), LogLine("accepted", "9", 96.5), ours]

    accepted = leave_out_foreign(log, [theirs], [asking])

    assert controller.is_in_window(100.0, accepted) == counts


@pytest.mark.standin
@pytest.mark.parametrize("scenario", [controller, daemons, handovers])
def test_the_stand_in_has_no_daemons_to_kill(scenario: object, standin: Standin) -> None:
    with pytest.raises(TypeError, match="--slurm real"):
        scenario.run(Setup("real", 1, standin), 1)  # type: ignore[attr-defined] # one of the modules above
