"""A task's journal as values: what was read, and what follows directly from it. Pure."""

from dataclasses import dataclass
from itertools import pairwise

from mltm.contract.ids import TaskId
from mltm.contract.journal_records import (
    Amended,
    Closed,
    Command,
    Dup,
    Exit,
    Fence,
    JobClaim,
    Refused,
    Submit,
    Submitted,
)
from mltm.contract.manifest import Manifest

__all__ = ["AttemptJournal", "TaskJournal"]


@dataclass(frozen=True)
class AttemptJournal:
    """One attempt whose intent is `submit`."""

    number: int
    intent: Submit
    claim: JobClaim | Fence | None = None
    noted: JobClaim | None = None
    exit: Exit | None = None
    submitted: Submitted | None = None
    refused: tuple[Refused, ...] = ()
    dups: tuple[Dup, ...] = ()

    @property
    def owner(self) -> JobClaim | None:
        """The job that owns this attempt.

        A note counts even if the claim is gone (rule 4), and so does an exit record: only an owner writes one.
        """
        if self.noted is not None:
            return self.noted
        if isinstance(self.claim, JobClaim):
            return self.claim
        if self.exit is not None and self.claim is None:
            return _claim_of(self.exit)
        return None

    @property
    def fence(self) -> Fence | None:
        """The agent's fence, where no job owns the attempt."""
        return self.claim if isinstance(self.claim, Fence) and self.noted is None else None

    @property
    def own_exit(self) -> Exit | None:
        """The exit record, where the claim's owner wrote it."""
        owner = self.owner
        return self.exit if self.exit is not None and owner is not None and self.exit.nonce == owner.nonce else None

    @property
    def declined(self) -> Refused | None:
        """The owner's own refusal: it won the claim and left without starting the code (docs/decisions/0008)."""
        owner = self.owner
        if owner is None or self.own_exit is not None:
            return None
        return next((record for record in self.refused if record.nonce == owner.nonce), None)

    @property
    def may_have_run(self) -> bool:
        """True where a job owns this attempt and did not say that its code never started."""
        return self.owner is not None and self.declined is None


@dataclass(frozen=True)
class TaskJournal:
    """Everything that was read of one task. `closed` is the intent that ended it."""

    task_id: TaskId
    attempts: tuple[AttemptJournal, ...] = ()
    closed: Closed | None = None
    cancel: Command | None = None
    held: bool = False
    manifest: Manifest | None = None
    amended: Amended | None = None

    @property
    def late_exits(self) -> tuple[tuple[AttemptJournal, Exit], ...]:
        """Exit records of earlier attempts: they became visible only after the next attempt had been opened."""
        return tuple(
            (early, early.own_exit)
            for early, following in pairwise(self.attempts)
            if early.own_exit is not None and not following.intent.after_exit
        )

    @property
    def last(self) -> AttemptJournal | None:
        """The newest attempt."""
        return self.attempts[-1] if self.attempts else None


def _claim_of(record: Exit) -> JobClaim:
    return JobClaim(
        nonce=record.nonce,
        job_id=record.job_id,
        node=record.node,
        boot_id=record.boot_id,
        pid=0,
        at=record.started_at,
    )
