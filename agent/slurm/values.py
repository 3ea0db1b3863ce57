"""What Slurm's answers mean, as values. "No reply", "not listed" and "ended" are different types.

Each `message` is Slurm's own, for the history and for people. No rule reads it.
"""

from dataclasses import dataclass
from typing import Literal

from mltm.contract.ids import JobId

__all__ = [
    "KILL_WAIT_MESSAGE", "Accounting", "AccountingLine", "CancelOutcome", "JobLine", "JobList", "NoAccounting",
    "NotAsked", "PollFailed", "SbatchAnswer", "SlurmFacts", "SubmitOutcome",
]  # fmt: skip

KILL_WAIT_MESSAGE = "Slurm's KillWait is shorter than kill_wait_s in the agent's config, so Slurm's is used."
SubmitOutcome = Literal["accepted", "ambiguous", "transient", "limit", "permanent", "deferred"]


@dataclass(frozen=True)
class SbatchAnswer:
    """Slurm's answer to one sbatch.

    accepted: `job_id` is set. ambiguous: a job may exist (`job_id` is a hint, if one was printed). transient: surely
    no job; the same attempt may be tried again; attention: it may not pass by itself, a person should look. limit:
    surely no job; try again when a job of ours ends. permanent: surely no job, ever. deferred: no answer yet (the
    bucket is empty, or the call still runs): pass the same request again at the next tick; it is never sent twice for
    that.
    """

    outcome: SubmitOutcome
    job_id: JobId | None = None
    message: str = ""
    attention: bool = False


@dataclass(frozen=True)
class JobLine:
    """One job of ours as squeue lists it. Times of Slurm are text, for display; None: Slurm says N/A."""

    job_id: JobId
    state: str
    name: str
    reason: str = ""
    node: str = ""
    elapsed_s: int | None = None
    time_limit_s: int | None = None  #: None: unlimited or not said
    start: str | None = None
    submit: str | None = None


@dataclass(frozen=True)
class JobList:
    """A good poll: every job of this user that Slurm knows. A job that is missing here is ABSENT."""

    jobs: tuple[JobLine, ...]

    def named(self, job_name: str) -> tuple[JobLine, ...]:
        """The jobs of that name."""
        return tuple(job for job in self.jobs if job.name == job_name)


@dataclass(frozen=True)
class PollFailed:
    """No answer that can be used. It counts for nothing: no state changes because of it."""

    message: str


@dataclass(frozen=True)
class NotAsked:
    """Slurm was not asked: the agent's query_bucket is empty. It says nothing about Slurm."""


@dataclass(frozen=True)
class AccountingLine:
    """One job as sacct lists it. `exit_code` and `signal` as Slurm saw them; success never comes from here."""

    job_id: JobId
    state: str
    name: str
    exit_code: int | None = None
    signal: int | None = None
    start: str | None = None
    end: str | None = None
    elapsed_s: int | None = None
    node: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Accounting:
    """A good answer of sacct. A job that is missing may have been submitted too recently to be there."""

    jobs: tuple[AccountingLine, ...]

    def named(self, job_name: str) -> tuple[AccountingLine, ...]:
        """The jobs of that name."""
        return tuple(job for job in self.jobs if job.name == job_name)


@dataclass(frozen=True)
class NoAccounting:
    """This site keeps no accounting: a fact, not a failure."""

    message: str = "Slurm accounting storage is disabled"


@dataclass(frozen=True)
class CancelOutcome:
    """sent: Slurm was asked; a later poll says what became of it. deferred: not asked yet. failed: try again."""

    outcome: Literal["sent", "deferred", "failed"]
    message: str = ""


@dataclass(frozen=True)
class SlurmFacts:
    """What `scontrol show config` says."""

    version: str
    min_job_age_s: int = 300
    kill_wait_s: int = 30
    accounting: bool = False
