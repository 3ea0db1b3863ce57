"""What an agent may do next for a task, as values: decide() chooses one, the tasks room carries it out."""

from dataclasses import dataclass

from mltm.contract.journal_records import FenceReason, JobClaim, Verdict
from mltm.contract.states import State

__all__ = [
    "Action",
    "Adopt",
    "Amend",
    "CancelJobs",
    "Close",
    "OpenAttempt",
    "PrepareSubmission",
    "PutFence",
    "PutNote",
    "Wait",
]


@dataclass(frozen=True)
class OpenAttempt:
    """Link `intent` k = submit. `after`: what became of attempt k-1, and why another."""

    number: int
    after: str = ""
    after_state: State | None = None
    after_exit: bool = False


@dataclass(frozen=True)
class PrepareSubmission:
    """Write what the wrapper of an attempt runs; its sbatch goes with the others', at the end of the round."""

    number: int


@dataclass(frozen=True)
class Adopt:
    """Slurm lists a job under the attempt's name: write down its id."""

    number: int
    job_id: str


@dataclass(frozen=True)
class PutNote:
    """Note a claim that was read."""

    number: int
    claim: JobClaim


@dataclass(frozen=True)
class PutFence:
    """Take the claim, so that this attempt's code never starts; then cancel what Slurm still has of it."""

    number: int
    reason: FenceReason
    message: str = ""


@dataclass(frozen=True)
class CancelJobs:
    """scancel, by id and name."""

    jobs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Close:
    """Link `intent` k = closed: the task's end. number: k, one more than the last attempt's."""

    number: int
    verdict: Verdict


@dataclass(frozen=True)
class Amend:
    """Correct, once and openly, an end that a late exit record shows to be wrong."""

    verdict: Verdict


@dataclass(frozen=True)
class Wait:
    """Nothing to do before `due_s` (boot clock), unless something new is seen. needs_poll: poll early."""

    due_s: float
    needs_poll: bool = False


Action = OpenAttempt | PrepareSubmission | Adopt | PutNote | PutFence | CancelJobs | Close | Amend | Wait
