"""Rounds of a real tick over a spool, a clock and a Slurm that only takes jobs and counts what it is asked."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from agent.memory import list_observations, save_observation
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
from tests.agent.spool.build import TASK, Hands


@dataclass
class CountedSlurm:
    """Takes every job and keeps it pending; counts what it is asked."""

    calls: Counter[str] = field(default_factory=Counter)
    jobs: dict[str, JobLine] = field(default_factory=dict)
    is_down: bool = False

    def submit_many(self, requests: Sequence[SubmitRequest], *, wait_s: float = 20.0) -> dict[str, Submission]:
        self.calls["sbatch"] += len(requests)
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
        return SlurmFacts("22.05.8")

    def close(self) -> None:
        """Nothing runs here."""


@dataclass
class World:
    hands: Hands
    slurm: CountedSlurm
    tick: Tick
    outbox: Outbox

    task_id: TaskId = TASK

    def run(self, after_s: float = 0.0) -> TickResult:
        self.hands.now_s += after_s
        return self.tick.run()

    def ring(self) -> None:
        (self.hands.spool.bell / self.task_id).touch()

    def start_again(self) -> "World":
        """A new process on the same spool; the old one is gone."""
        return open_world(self.hands, self.slurm)

    def states(self) -> list[State]:
        return [report.state for report in self.outbox.pending(500)]

    def forget_told(self) -> None:
        """Forget what was told of the task, so that the next look tells it again."""
        for seen in list_observations(self.hands.spool, self.task_id):
            save_observation(self.hands.spool, self.task_id, seen.model_copy(update={"reported": ""}), self.hands.clock)


def open_world(hands: Hands, slurm: CountedSlurm) -> World:
    identity = prepare_spool(hands.settings, hands.clock)
    outbox = Outbox(identity.spool.outbox, identity.spool_id, identity.epoch, hands.clock)
    tick = Tick(hands.settings, identity.spool, slurm, outbox, hands.clock, identity)
    return World(hands, slurm, tick, outbox)


def make_world(tmp_path: Path) -> World:
    hands = Hands(tmp_path / "spool")
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "wine_classification.csv").write_text("a\n1\n")
    python = {"sklearn_sample_latest": Path(sys.executable)}
    found: Mapping[str, object] = {"runtime": "none", "images": python, "datasets_dir": tmp_path / "datasets"}
    hands.settings = hands.settings.model_copy(update=dict(found))
    return open_world(hands, CountedSlurm())
