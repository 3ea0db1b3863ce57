"""What a round costs Slurm, and that a new process goes on where a killed one stopped."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from agent import files
from agent.outbox import Outbox
from agent.slurm.request import SubmitRequest
from agent.slurm.values import (
    Accounting,
    CancelOutcome,
    JobLine,
    JobList,
    NoAccounting,
    PollFailed,
    SlurmFacts,
    Submission,
)
from agent.spool_setup import prepare_spool
from agent.tick import Tick, TickResult
from mltm.contract.ids import JobId, TaskId
from mltm.contract.states import State
from tests.agent.core.build import exit_record
from tests.agent.spool.build import Hands, send

TASKS = 200


@dataclass
class CountedSlurm:
    """Takes every job and keeps it pending; counts what it is asked."""

    calls: Counter[str] = field(default_factory=Counter)
    jobs: dict[str, JobLine] = field(default_factory=dict)
    requests: list[SubmitRequest] = field(default_factory=list)
    is_down: bool = False
    kill_wait_s: int = 30

    def submit_many(self, requests: Sequence[SubmitRequest], *, wait_s: float = 20.0) -> dict[str, Submission]:
        self.calls["sbatch"] += len(requests)
        self.requests += requests
        for request in requests:
            job_id = JobId(str(len(self.jobs) + 1))
            self.jobs[request.job_name] = JobLine(job_id, "PENDING", request.job_name)
        return {r.job_name: Submission("accepted", self.jobs[r.job_name].job_id) for r in requests}

    def list_jobs(self) -> JobList | PollFailed:
        self.calls["squeue"] += 1
        return PollFailed("down") if self.is_down else JobList(tuple(self.jobs.values()))

    def account(self, job_names: Sequence[str], *, since: datetime) -> Accounting | NoAccounting | PollFailed:
        self.calls["sacct"] += 1
        return NoAccounting()

    def cancel(self, jobs: Sequence[tuple[JobId, str]], *, signal: str | None = None) -> CancelOutcome:
        self.calls["scancel"] += 1
        return CancelOutcome("sent")

    def describe(self) -> SlurmFacts | PollFailed:
        self.calls["scontrol"] += 1
        return PollFailed("down") if self.is_down else SlurmFacts("22.05.8", kill_wait_s=self.kill_wait_s)

    def close(self) -> None:
        """Nothing runs here."""


@dataclass
class World:
    hands: Hands
    slurm: CountedSlurm
    tick: Tick
    outbox: Outbox

    def run(self, after_s: float = 0.0) -> TickResult:
        self.hands.now_s += after_s
        return self.tick.run()


def open_world(hands: Hands, slurm: CountedSlurm) -> World:
    identity = prepare_spool(hands.settings, hands.clock)
    outbox = Outbox(identity.spool.outbox, identity.spool_id, identity.epoch, hands.clock)
    tick = Tick(hands.settings, identity.spool, slurm, outbox, hands.clock, identity)
    return World(hands, slurm, tick, outbox)


@pytest.fixture
def world(tmp_path: Path) -> World:
    hands = Hands(tmp_path / "spool")
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "wine_classification.csv").write_text("a\n1\n")
    python = {"sklearn_sample_latest": Path(sys.executable)}
    found: Mapping[str, object] = {"runtime": "none", "images": python, "datasets_dir": tmp_path / "datasets"}
    hands.settings = hands.settings.model_copy(update=dict(found))
    return open_world(hands, CountedSlurm())


def test_an_idle_agent_makes_no_slurm_call(world: World) -> None:
    for _ in range(5):
        world.run(after_s=60)

    assert world.slurm.calls == Counter()


def test_two_hundred_active_tasks_cost_one_squeue_a_cycle(world: World) -> None:
    for number in range(TASKS):
        send(world.hands, TaskId(f"{number + 1:032x}"))
    while world.slurm.calls["sbatch"] < TASKS:
        world.run(after_s=1)
    cycle_s = world.hands.settings.slurm.poll_interval_s
    world.run(after_s=cycle_s)
    before = world.slurm.calls["squeue"]

    for _ in range(3):
        assert world.run(after_s=cycle_s / 2).active == TASKS
        world.run(after_s=cycle_s / 2)

    assert world.slurm.calls["squeue"] - before == 3
    assert set(world.slurm.calls) == {"sbatch", "squeue", "scontrol"}
    assert world.slurm.calls["sbatch"] == TASKS


def test_a_failed_poll_changes_nothing_and_is_said(world: World) -> None:
    send(world.hands)
    world.run()
    reports = world.outbox.count()
    world.slurm.is_down, world.slurm.jobs = True, {}

    results = [world.run(after_s=600) for _ in range(5)]

    assert world.outbox.count() == reports
    assert any("squeue" in problem for problem in results[-1].problems)


def test_a_new_process_adopts_what_a_killed_one_submitted(world: World) -> None:
    """The kill fell between sbatch and the job id on disk: the job is found by its name, and sbatch is not repeated."""
    send(world.hands)
    world.run()
    (task_id,) = world.hands.tasks()
    files.remove(world.hands.spool.task(task_id).attempt(1).submitted)
    again = open_world(world.hands, world.slurm)

    for _ in range(4):
        again.run(after_s=31)

    assert world.slurm.calls["sbatch"] == 1
    assert world.hands.spool.task(task_id).attempt(1).submitted.exists()


def test_an_exit_record_ends_the_task_without_another_call(world: World) -> None:
    send(world.hands)
    world.run()
    (task_id,) = world.hands.tasks()
    attempt = world.hands.spool.task(task_id).attempt(1)
    record = exit_record(0).model_dump_json()
    attempt.exit.write_text(record)
    (world.hands.spool.bell / task_id).touch()
    calls = dict(world.slurm.calls)

    world.run(after_s=1)

    assert [report.state for report in world.outbox.pending(50)][-1] is State.SUCCEEDED
    assert world.hands.spool.tombstone(task_id).exists()
    assert world.run(after_s=1).active == 0
    assert calls["sbatch"] == world.slurm.calls["sbatch"]


@pytest.mark.parametrize(("slurms", "used", "said"), [(12, "8.000", 1), (30, "20.000", 0), (90, "20.000", 0)])
def test_the_wrapper_is_done_before_slurms_own_kill(
    world: World, capsys: pytest.CaptureFixture[str], slurms: int, used: str, said: int
) -> None:
    world.slurm.kill_wait_s = slurms
    for number in range(2):
        send(world.hands, TaskId(f"{number + 1:032x}"))
        world.run(after_s=1)

    assert [request.args[9] for request in world.slurm.requests] == [used, used]
    assert capsys.readouterr().out.count("kill_wait_shortened") == said


def test_slurms_settings_are_asked_for_once_in_a_while(world: World) -> None:
    send(world.hands)
    for _ in range(20):
        world.run(after_s=60)
    assert world.slurm.calls["scontrol"] == 1

    world.slurm.is_down = True
    for _ in range(5):
        world.run(after_s=3600)
    assert world.slurm.calls["scontrol"] == 6
