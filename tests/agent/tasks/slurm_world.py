"""A tick on a spool of its own, a Slurm that counts what it is asked, and a clock that only the test moves."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar

from agent.daemon.tick import Tick, TickResult
from agent.slurm.port import SlurmPort
from agent.slurm.rate_limits import TokenBucket
from agent.slurm.request import SubmitRequest
from agent.slurm.values import (
    Accounting,
    CancelOutcome,
    JobLine,
    JobList,
    NoAccounting,
    NotAsked,
    PollFailed,
    SbatchAnswer,
    SlurmFacts,
)
from agent.spool.observations import list_kept, save_observation
from agent.spool.outbox import Outbox
from agent.spool.setup import prepare_spool
from mltm.contract.ids import JobId, TaskId
from mltm.contract.journal_records import Command, render_record
from mltm.contract.states import State
from mltm.runtime import files
from tests.agent.spool.build import TASK, SpoolKit, send

AnySlurm = TypeVar("AnySlurm", bound=SlurmPort)


@dataclass
class CountedSlurm:
    """Takes every job and keeps it pending until it is cancelled; counts what it is asked."""

    calls: Counter[str] = field(default_factory=Counter)
    jobs: dict[str, JobLine] = field(default_factory=dict)
    requests: list[SubmitRequest] = field(default_factory=list)
    is_down: bool = False
    is_mute: bool = False  #: sbatch takes the job and its answer is lost
    is_bucket_empty: bool = False
    bucket: TokenBucket | None = None
    facts: SlurmFacts = field(default_factory=lambda: SlurmFacts("22.05.8"))
    accounted: list[str] = field(default_factory=list)

    def submit_many(
        self, requests: Sequence[SubmitRequest], *, wait_s: float = 20.0
    ) -> Iterator[tuple[str, SbatchAnswer]]:
        self.calls["sbatch"] += len(requests)
        self.requests += requests
        for request in requests:
            job_id = JobId(str(len(self.jobs) + 1))
            self.jobs[request.job_name] = JobLine(job_id, "PENDING", request.job_name)
        for request in requests:
            known = SbatchAnswer("accepted", self.jobs[request.job_name].job_id)
            yield request.job_name, SbatchAnswer("ambiguous") if self.is_mute else known

    def list_jobs(self, *, spare: int = 0) -> JobList | PollFailed | NotAsked:
        if not self.take(spare):
            return NotAsked()
        self.calls["squeue"] += 1
        return PollFailed("down") if self.is_down else JobList(tuple(self.jobs.values()))

    def account(self, job_names: Sequence[str], *, since: datetime) -> Accounting | NoAccounting | PollFailed:
        self.calls["sacct"] += 1
        self.accounted += job_names
        return Accounting(()) if self.facts.accounting else NoAccounting()

    def cancel(
        self, jobs: Sequence[tuple[JobId, str]], *, signal: str | None = None, listed: JobList | None = None
    ) -> CancelOutcome:
        if not self.take():
            return CancelOutcome("deferred")
        self.calls["scancel"] += 1
        if self.is_down:
            return CancelOutcome("failed", "down")
        there = {(job.job_id, job.name) for job in (listed.jobs if listed else self.jobs.values())}
        for job_id, name in there.intersection(jobs):
            if self.jobs.get(name) == JobLine(job_id, "PENDING", name):
                self.jobs[name] = JobLine(job_id, "CANCELLED", name)
        return CancelOutcome("sent")

    def take(self, spare: int = 0) -> bool:
        return not self.is_bucket_empty and (self.bucket is None or self.bucket.take(spare=spare))

    def describe(self) -> SlurmFacts | PollFailed:
        self.calls["scontrol"] += 1
        return PollFailed("down") if self.is_down else self.facts

    def close(self) -> None:
        """Nothing runs here."""


@dataclass
class World(Generic[AnySlurm]):
    kit: SpoolKit
    slurm: AnySlurm
    tick: Tick
    outbox: Outbox

    task_id: TaskId = TASK

    def run(self, after_s: float = 0.0) -> TickResult:
        self.kit.now_s += after_s
        return self.tick.run()

    def run_for(self, seconds: float) -> None:
        """Run as the service does: each round when the one before said so."""
        until_s = self.kit.now_s + seconds
        pause_s = 0.0
        while self.kit.now_s + pause_s < until_s:
            pause_s = self.run(after_s=pause_s).wake_after_s
        self.kit.now_s = until_s

    def ring(self) -> None:
        (self.kit.spool.bell / self.task_id).touch()

    def start_again(self) -> "World[AnySlurm]":
        """A new process on the same spool; the old one is gone."""
        return open_world(self.kit, self.slurm)

    def states(self) -> list[State]:
        return [report.state for report in self.outbox.read_oldest(500)]

    def forget_told(self) -> None:
        """Forget what was told of the task, so that the next look tells it again."""
        for kept in list_kept(self.kit.spool, self.task_id):
            silent = replace(kept, told=replace(kept.told, reported=""))
            save_observation(self.kit.spool, self.task_id, silent, self.kit.clock)

    def ask_cancel(self, task_id: TaskId) -> None:
        command = Command(kind="cancel", command_id="c", at=self.kit.clock.now())
        files.link_once(self.kit.spool.task(task_id).cancel, render_record(command), self.kit.clock.nonce())
        (self.kit.spool.bell / task_id).touch()


def open_world(kit: SpoolKit, slurm: AnySlurm) -> World[AnySlurm]:
    identity = prepare_spool(kit.settings, kit.clock)
    outbox = Outbox(identity.spool.outbox, identity.spool_id, identity.epoch, kit.clock)
    tick = Tick(kit.settings, identity.spool, slurm, outbox, kit.clock, identity)
    return World(kit, slurm, tick, outbox)


def build_hands(folder: Path) -> SpoolKit:
    kit = SpoolKit(folder / "spool")
    (folder / "datasets").mkdir()
    (folder / "datasets" / "wine_classification.csv").write_text("a\n1\n")
    python = {"sklearn_sample_latest": Path(sys.executable)}
    found: Mapping[str, object] = {"runtime": "none", "images": python, "datasets_dir": folder / "datasets"}
    kit.settings = kit.settings.model_copy(update=dict(found))
    return kit


def make_world(folder: Path) -> World[CountedSlurm]:
    return open_world(build_hands(folder), CountedSlurm())


def submit(world: World[CountedSlurm], count: int, *, first: int = 1) -> list[str]:
    """Hand in tasks of these numbers, and run until all have had their sbatch; the names of all jobs."""
    for number in range(first, first + count):
        send(world.kit, TaskId(f"{number:032x}"))
    while world.slurm.calls["sbatch"] < first + count - 1:
        world.run(after_s=1)
    return list(world.slurm.jobs)
