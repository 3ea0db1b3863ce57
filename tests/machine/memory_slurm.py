"""A Slurm in memory, with the lab's faults, whose jobs are wrappers that obey the protocol one step at a time.

It passes the suite of the port (tests/agent/slurm/test_port.py). A copy's steps are made by whoever drives it: look at
the note, take the claim, run, end. The ledger counts the starts, as a task's own code would.
"""

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from agent.slurm.request import SubmitRequest
from agent.slurm.values import (
    Accounting,
    AccountingLine,
    CancelOutcome,
    JobLine,
    JobList,
    NoAccounting,
    NotAsked,
    PollFailed,
    SbatchAnswer,
    SlurmFacts,
)
from mltm.contract.ids import JobId, TaskId, parse_job_name
from mltm.contract.journal_records import Dup, Exit, JobClaim, StopSignal, render_record
from mltm.contract.spool_layout import Attempt, Spool
from mltm.runtime import files

__all__ = ["Copy", "Job", "MemorySlurm"]

_PARTITIONS = {None, "cpu"}
_WORDS = "Socket timed out on send/recv operation"
_AT = datetime(2026, 11, 24, tzinfo=UTC)


@dataclass
class Copy:
    """One start of a job. step: `looking` (the note), `claiming`, `running`, `over`.

    is_struck: its node died under it, or was cut off: it then shows no life any more, and its code may go on.
    """

    nonce: str
    step: str = "looking"
    stopped: bool = False
    is_struck: bool = False


@dataclass
class Job:
    """What Slurm knows of a job. `visible`: squeue lists it."""

    job_id: JobId
    name: str
    state: str = "PENDING"
    visible: bool = True
    copies: list[Copy] = field(default_factory=list)

    @property
    def is_running(self) -> bool:
        """True while a copy of it lives, whatever squeue says."""
        return any(copy.step != "over" for copy in self.copies)


class MemorySlurm:
    """Faults are fields that the test sets: each answer obeys those of its command until they are taken back."""

    def __init__(self, spool: Spool | None = None, *, accounting: bool = False) -> None:
        self.spool, self.accounting = spool, accounting
        self.jobs: list[Job] = []
        self.ledger: Counter[TaskId] = Counter()
        self.started: dict[TaskId, list[Copy]] = {}  #: whose code started, in that order
        self.exits: dict[TaskId, int] = {}  #: of the copy that started last
        self.harm: list[str] = []  #: what the agent made Slurm do, and must not
        self.sbatch, self.squeue, self.scancel, self.sacct = "", "", "", ""
        self.unheard: list[SubmitRequest] = []  #: sbatch gave up on them, and slurmctld may still accept them
        self._ids, self._nonces = itertools.count(1), itertools.count(1)
        self._calls: Counter[str] = Counter()

    # What the agent asks -----------------------------------------------------------------------------------------

    @property
    def calls(self) -> Mapping[str, int]:
        """How often each command was called."""
        return self._calls

    def submit_many(
        self, requests: Sequence[SubmitRequest], *, wait_s: float = 20.0
    ) -> Iterator[tuple[str, SbatchAnswer]]:
        """Accept, or do as the fault says: `mute`, `late`, `deaf` (all ambiguous), `forget`, `busy`."""
        self._calls["sbatch"] += len(requests)
        for request in requests:
            yield request.job_name, self._submit(request)

    def _submit(self, request: SubmitRequest) -> SbatchAnswer:
        self._find_unwanted(request)
        if request.partition not in _PARTITIONS:
            return SbatchAnswer("permanent", message="Invalid partition name specified")
        match self.sbatch:
            case "busy":
                return SbatchAnswer("transient", message="Slurm temporarily unable to accept job")
            case "deaf":
                return SbatchAnswer("ambiguous", message=_WORDS)
            case "late":
                self.unheard.append(request)
                return SbatchAnswer("ambiguous", message=_WORDS)
            case "forget":
                return SbatchAnswer("accepted", JobId(str(next(self._ids))))
            case _:
                job_id = self.accept(request)
        return SbatchAnswer("ambiguous", message=_WORDS) if self.sbatch == "mute" else SbatchAnswer("accepted", job_id)

    def _find_unwanted(self, request: SubmitRequest) -> None:
        """Nothing goes to Slurm of a task whose cancel is on record, or whose hold is and no later release."""
        parsed = parse_job_name(request.job_name)
        if parsed is None or self.spool is None:
            return
        folder = self.spool.task(parsed[0])
        orders = [name for name in files.list_names(folder.control) if name.startswith(("hold.", "release."))]
        last = max(orders, key=lambda name: name.partition(".")[2], default="")
        if folder.cancel.exists() or last.startswith("hold."):
            self.harm.append(f"{request.job_name} was submitted although {last or 'a cancel'} is on record")

    def accept(self, request: SubmitRequest) -> JobId:
        """Take a job in."""
        job = Job(JobId(str(next(self._ids))), request.job_name)
        self.jobs.append(job)
        return job.job_id

    def list_jobs(self, *, spare: int = 0) -> JobList | PollFailed | NotAsked:
        """List, or do as the fault says: `fail`, `empty` (a lie with exit 0)."""
        self._calls["squeue"] += 1
        if self.squeue == "fail":
            return PollFailed("Unable to contact slurm controller")
        shown = [job for job in self.jobs if job.visible] if self.squeue != "empty" else []
        return JobList(tuple(JobLine(job.job_id, job.state, job.name, time_limit_s=3600) for job in shown))

    def account(self, job_names: Sequence[str], *, since: datetime) -> Accounting | NoAccounting | PollFailed:
        """Tell of every job that squeue has forgotten, too, or do as the fault says: `fail`, `empty`."""
        self._calls["sacct"] += 1
        if not self.accounting:
            return NoAccounting()
        if self.sacct == "fail":
            return PollFailed("Unable to contact slurm database daemon")
        known = [job for job in self.jobs if job.name in job_names and job.state != "FORGOTTEN"]
        known = known if self.sacct != "empty" else []
        return Accounting(tuple(AccountingLine(job.job_id, job.state, job.name) for job in known))

    def cancel(
        self, jobs: Sequence[tuple[JobId, str]], *, signal: str | None = None, listed: JobList | None = None
    ) -> CancelOutcome:
        """Cancel what is pending, stop what runs, or do as the fault says: `fail`, `ignored`."""
        self._calls["scancel"] += 1
        if self.scancel == "fail":
            return CancelOutcome("failed", "Unable to contact slurm controller")
        if self.scancel != "ignored":
            for job in [job for job in self.jobs if job.visible and (job.job_id, job.name) in jobs]:
                self._cancel(job)
        return CancelOutcome("sent")

    def _cancel(self, job: Job) -> None:
        if job.state not in {"PENDING", "RUNNING"}:
            return
        job.state = "CANCELLED"
        for copy in job.copies:
            copy.stopped = copy.stopped or copy.step == "running"
            copy.step = "over" if copy.step in {"looking", "claiming"} else copy.step

    def describe(self) -> SlurmFacts | PollFailed:
        """Say its settings."""
        self._calls["scontrol"] += 1
        return SlurmFacts("22.05.8", min_job_age_s=2, accounting=self.accounting)

    def close(self) -> None:
        """Nothing runs here."""

    def forget_ended(self) -> None:
        """MinJobAge is over: squeue lists what waits and what runs."""
        for job in self.jobs:
            job.visible = job.visible and (job.is_running or job.state == "PENDING")

    # What happens on the nodes -------------------------------------------------------------------------------------

    def start(self, job: Job) -> None:
        """Start a copy of a job; the second under the same id where one runs."""
        job.state = "RUNNING" if job.state == "PENDING" else job.state
        job.copies.append(Copy(f"{next(self._nonces):032x}"))

    def copies(self, *steps: str) -> Iterator[tuple[Job, Copy]]:
        """Every copy that is in one of these steps."""
        return ((job, copy) for job in self.jobs for copy in job.copies if copy.step in steps)

    def step(self, job: Job, copy: Copy) -> None:
        """Let a copy that has not started go one step on: first it looks, then it claims and starts, or leaves."""
        task_id, attempt = self._place(job)
        if copy.step == "looking":
            is_open = files.read_bytes(attempt.intent) is not None and files.read_bytes(attempt.note) is None
            copy.step = "claiming"
            if not is_open:
                self._end(job, copy)
            return
        self._claim(task_id, attempt, job, copy)

    def _claim(self, task_id: TaskId, attempt: Attempt, job: Job, copy: Copy) -> None:
        claim = JobClaim(nonce=copy.nonce, job_id=job.job_id, node="n1", boot_id="b", pid=1, at=_AT)
        decided = files.link_once(attempt.claim, render_record(claim), copy.nonce)
        if decided == render_record(claim):
            self._start_code(task_id, copy)
            return
        dup = Dup(nonce=copy.nonce, job_id=job.job_id, node="n1")
        files.link_once(attempt.dup(copy.nonce), render_record(dup), copy.nonce)
        self._end(job, copy)

    def _start_code(self, task_id: TaskId, copy: Copy) -> None:
        before = self.started.setdefault(task_id, [])
        if any(other.step == "running" and not other.is_struck for other in before):
            self.harm.append(f"{task_id}: its code started while it ran, and nothing had befallen it")
        before.append(copy)
        self.exits.pop(task_id, None)
        copy.step = "running"
        self.ledger[task_id] += 1

    def touch_beats(self, at_ns: int) -> None:
        """Every running copy shows that it lives, where its node is not cut off."""
        for job, copy in self.copies("running"):
            if copy.is_struck:
                continue
            beat = self._place(job)[1].beat
            beat.touch()
            os.utime(beat, ns=(at_ns, at_ns))

    def end_code(self, job: Job, copy: Copy, code: int) -> None:
        """The code of a copy ends; a stopped one died of TERM. The exit record, then the bell."""
        task_id, attempt = self._place(job)
        code, stops = (143, [StopSignal(name="TERM", uptime_s=1.0)]) if copy.stopped else (code, [])
        record = Exit(
            nonce=copy.nonce, job_id=job.job_id, node="n1", boot_id="b", code=code, started_at=_AT, ended_at=_AT,
            elapsed_s=1.0, stop_signals=stops, ended_uptime_s=1.0, oom_kills=0,
        )  # fmt: skip
        files.link_once(attempt.exit, render_record(record), copy.nonce)
        if copy is self.started[task_id][-1]:
            self.exits[task_id] = code
        if self.spool is not None:
            (self.spool.bell / task_id).touch()
        self._end(job, copy, "COMPLETED" if code == 0 else "FAILED")

    def kill(self, job: Job, copy: Copy, state: str = "NODE_FAIL") -> None:
        """The node dies under a copy: no record, no bell."""
        copy.is_struck = True
        self._end(job, copy, state)

    def cut_off(self, job: Job, copy: Copy) -> None:
        """The node is cut off from Slurm and the shared folder, and the code goes on; what it writes comes late."""
        copy.is_struck = True
        if job.state == "RUNNING":
            job.state = "NODE_FAIL"

    def _end(self, job: Job, copy: Copy, state: str = "COMPLETED") -> None:
        copy.step = "over"
        if job.state == "RUNNING":  # whichever copy ends first is the job's end
            job.state = state

    def _place(self, job: Job) -> tuple[TaskId, Attempt]:
        parsed = parse_job_name(job.name)
        if parsed is None or self.spool is None:
            raise LookupError(f"{job.name} is no job of a task here")
        return parsed[0], self.spool.task(parsed[0]).attempt(parsed[1])
