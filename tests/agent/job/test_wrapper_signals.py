"""Which stop of Slurm's reaches what (seen on 22.05), and that the code gets one TERM of each, whichever it is."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lab.processes import wait_until
from lab.slurm.daemons import find_processes_of
from lab.slurm.layout import Lab
from tests.agent.job.running import COUNT, COUNTED_ONCE, Prepared, prepare, read_exit, read_log, wait_log
from tests.agent.job.slurm_jobs import Job, submit_task
from tests.lab.calls import call, read_state

pytestmark = [pytest.mark.slurm, pytest.mark.long, pytest.mark.timeout(120)]
# The whole job: each of its processes gets TERM from slurmstepd.
WHOLE = {
    "cancel": ["scancel"],
    "cancel-full": ["scancel", "--full"],
    "requeue": ["scontrol", "requeue"],
}
# The batch shell, or its process group, in which the code is not: the wrapper tells the code.
BATCH = {
    "signal-batch": ["scancel", "--signal=TERM", "--batch"],
    "signal-full": ["scancel", "--signal=TERM", "--full"],
}
# The batch shell gets KILL, and nothing else of the job gets anything.
KILLED = {"kill-batch": ["scancel", "--batch"]}
# Only steps, of which a batch job of ours has none.
NOTHING = {"signal": ["scancel", "--signal=TERM"]}


@dataclass(frozen=True)
class Stopped:
    lab: Lab
    tasks: dict[str, Prepared]
    jobs: dict[str, Job]


@pytest.fixture(scope="module")
def stopped(slurm_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stopped]:
    """One job each way, side by side. The lab's KillWait is 12 s; what only we kill may take nearly as long."""
    ways = WHOLE | BATCH | NOTHING | KILLED
    tasks = {
        way: prepare(tmp_path_factory.mktemp("spool"), COUNT, kill_wait_s=9 if way in BATCH else 1) for way in ways
    }
    jobs = {
        way: submit_task(slurm_lab, task, may_requeue=way == "requeue", time_limit="5") for way, task in tasks.items()
    }
    for task in tasks.values():
        wait_log(task, "up parent")
        wait_log(task, "up child")
    assert find_processes_of(slurm_lab, jobs["kill-batch"].job_id)  # else their absence later would say nothing
    for way, argv in ways.items():
        assert call(slurm_lab, *argv, jobs[way].job_id).returncode == 0
    yield Stopped(slurm_lab, tasks, jobs)
    for job in jobs.values():
        call(slurm_lab, "scancel", job.job_id)


@pytest.mark.parametrize("way", [*WHOLE, *BATCH])
def test_the_code_gets_one_term_of_each_stop(stopped: Stopped, way: str) -> None:
    task = stopped.tasks[way]
    assert wait_until(task.records.exit.exists, timeout_s=40)

    assert sorted(read_log(task).splitlines()) == COUNTED_ONCE
    assert (read_exit(task).code, [each.name for each in read_exit(task).stop_signals]) == (137, ["TERM"])


@pytest.mark.parametrize("way", NOTHING)
def test_a_signal_to_the_steps_alone_stops_nothing(stopped: Stopped, way: str) -> None:
    for other in BATCH:
        assert wait_until(stopped.tasks[other].records.exit.exists, timeout_s=40)  # sent before, and over

    assert read_state(stopped.lab, stopped.jobs[way].job_id) == "RUNNING"
    assert sorted(read_log(stopped.tasks[way]).splitlines()) == COUNTED_ONCE[2:]


def test_code_whose_wrapper_slurm_killed_does_not_go_on_unseen(stopped: Stopped) -> None:
    job = stopped.jobs["kill-batch"]
    wait_until(lambda: not find_processes_of(stopped.lab, job.job_id), timeout_s=40)

    assert find_processes_of(stopped.lab, job.job_id) == []
    assert sorted(read_log(job.task).splitlines()) == COUNTED_ONCE[2:]
    assert not job.task.records.exit.exists()
