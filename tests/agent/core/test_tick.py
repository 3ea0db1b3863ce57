"""What a round costs Slurm, and that a new process goes on where a killed one stopped."""

import errno
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from agent import files, perform, slurm_round
from agent.outbox import Outbox
from agent.slurm.request import SubmitRequest
from agent.slurm.values import (
    Accounting,
    CancelOutcome,
    JobLine,
    JobList,
    NoAccounting,
    NotAsked,
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
    is_down: bool = False
    is_bucket_empty: bool = False
    facts: SlurmFacts = field(default_factory=lambda: SlurmFacts("22.05.8"))
    accounted: list[str] = field(default_factory=list)

    def submit_many(self, requests: Sequence[SubmitRequest], *, wait_s: float = 20.0) -> dict[str, Submission]:
        self.calls["sbatch"] += len(requests)
        for request in requests:
            job_id = JobId(str(len(self.jobs) + 1))
            self.jobs[request.job_name] = JobLine(job_id, "PENDING", request.job_name)
        return {r.job_name: Submission("accepted", self.jobs[r.job_name].job_id) for r in requests}

    def list_jobs(self, *, spare: int = 0) -> JobList | PollFailed | NotAsked:
        if self.is_bucket_empty:
            return NotAsked()
        self.calls["squeue"] += 1
        return PollFailed("down") if self.is_down else JobList(tuple(self.jobs.values()))

    def account(self, job_names: Sequence[str], *, since: datetime) -> Accounting | NoAccounting | PollFailed:
        self.calls["sacct"] += 1
        self.accounted += job_names
        return Accounting(()) if self.facts.accounting else NoAccounting()

    def cancel(self, jobs: Sequence[tuple[JobId, str]], *, signal: str | None = None) -> CancelOutcome:
        self.calls["scancel"] += 1
        return CancelOutcome("sent")

    def describe(self) -> SlurmFacts | PollFailed:
        self.calls["scontrol"] += 1
        return self.facts

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


def _submit(world: World, count: int) -> list[str]:
    for number in range(count):
        send(world.hands, TaskId(f"{number + 1:032x}"))
    while world.slurm.calls["sbatch"] < count:
        world.run(after_s=1)
    return list(world.slurm.jobs)


def test_an_idle_agent_makes_no_slurm_call(world: World) -> None:
    for _ in range(5):
        world.run(after_s=60)

    assert world.slurm.calls == Counter()


def test_two_hundred_active_tasks_cost_one_squeue_a_cycle(world: World) -> None:
    _submit(world, TASKS)
    cycle_s = world.hands.settings.slurm.poll_interval_s
    world.run(after_s=cycle_s)
    before = world.slurm.calls["squeue"]

    for _ in range(3):
        assert world.run(after_s=cycle_s / 2).active == TASKS
        world.run(after_s=cycle_s / 2)

    assert world.slurm.calls["squeue"] - before == 3
    assert set(world.slurm.calls) == {"sbatch", "squeue", "scontrol"}
    assert world.slurm.calls["sbatch"] == TASKS


def test_an_answer_of_sbatch_that_cannot_be_written_is_kept_and_asked_for_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    full: list[bool] = [True]

    def write(answer: Submission, task_id: TaskId, number: int, hands: perform.Hands) -> None:
        if full and task_id.endswith("1"):
            raise OSError(errno.ENOSPC, "No space left on device")
        perform.record_submission(answer, task_id, number, hands)

    monkeypatch.setattr(slurm_round, "record_submission", write)
    world.slurm.is_down = True  # otherwise the job is found by its name
    _submit(world, 4)
    written = [world.hands.spool.task(task_id).attempt(1).submitted for task_id in world.hands.tasks()]
    problems = [world.run(after_s=1).problems for _ in range(3)][-1]

    assert [path.exists() for path in written] == [False, True, True, True]
    assert any("No space left" in problem for problem in problems)
    full.clear()
    assert not any("No space left" in problem for problem in world.run(after_s=1).problems)
    assert all(path.exists() for path in written)
    assert world.slurm.calls["sbatch"] == 4


def test_every_vanished_job_gets_its_turn_with_sacct(world: World) -> None:
    world.slurm.facts = SlurmFacts("22.05.8", accounting=True)
    names = _submit(world, 120)
    world.slurm.jobs = {}

    for _ in range(4):
        world.run(after_s=61)
        world.slurm.jobs = {}

    assert set(names) <= set(world.slurm.accounted)
    assert world.slurm.calls["sacct"] <= 4


@pytest.mark.parametrize("is_away", [True, False])
def test_slurms_settings_are_read_again(world: World, *, is_away: bool) -> None:
    _submit(world, 1)
    world.run(after_s=31)
    world.slurm.is_down = is_away
    world.run(after_s=31 if is_away else 3600)
    world.slurm.is_down = False
    for _ in range(20):
        world.run(after_s=31)

    assert world.slurm.calls["scontrol"] == 2


def test_a_failed_poll_changes_nothing_and_is_said(world: World) -> None:
    send(world.hands)
    world.run()
    reports = world.outbox.count()
    world.slurm.is_down, world.slurm.jobs = True, {}

    results = [world.run(after_s=600) for _ in range(5)]

    assert world.outbox.count() == reports
    assert any("squeue" in problem for problem in results[-1].problems)


def test_an_empty_bucket_is_no_word_about_slurm(world: World) -> None:
    _submit(world, 1)
    world.slurm.is_bucket_empty = True

    assert [problem for _ in range(5) for problem in world.run(after_s=60).problems] == []


def test_early_polls_leave_half_of_the_bucket(world: World) -> None:
    _submit(world, 1)
    (task_id,) = world.hands.tasks()
    waits = world.hands.settings.waits.model_copy(update={"poll_soon_s": 1})
    hands = world.hands
    hands.settings = hands.settings.model_copy(update={"waits": waits})
    again = open_world(hands, world.slurm)
    stopped = exit_record(0, job_id="1", stop_signals=[{"name": "TERM", "uptime_s": 1.0}]).model_dump_json()
    hands.spool.task(task_id).attempt(1).exit.write_text(stopped)
    before = world.slurm.calls["squeue"]

    for _ in range(100):
        again.run(after_s=1)

    assert 9 <= world.slurm.calls["squeue"] - before <= 11


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
