"""What is known of a fenced attempt of which Slurm may still have a job: values, replaced and never edited."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent.settings import AgentSettings
from agent.slurm.states import classify_state
from agent.slurm.values import JobLine
from agent.spool.records import read_journal
from agent.spool.tombstones import has_tombstone
from mltm.contract.ids import JobId, parse_job_name
from mltm.contract.spool_layout import Spool

__all__ = ["Leftover", "count_poll", "is_over", "read_leftover"]


@dataclass(frozen=True)
class Leftover:
    """What is known of one. Times are seconds of this host's boot clock, counted anew by each process."""

    name: str
    since_s: float  #: a poll that began before says nothing about it
    is_fenced: bool = False
    is_dropped: bool = False  #: no agent owns the attempt, so that there is nothing to cancel
    is_answered: bool = False  #: sbatch's answer is on disk
    job_ids: tuple[JobId, ...] = ()  #: once fenced: as sbatch said, or as the last poll lists under the name
    absent_polls: int = 0
    absent_since_s: float = 0.0
    has_ended: bool = False


def read_leftover(spool: Spool, before: Leftover, now_s: float) -> Leftover:
    """Read in the task's journal who owns the attempt and what sbatch said. Raises OSError, SpoolError."""
    named = parse_job_name(before.name)
    if named is None:
        return before
    task_id, number = named
    journal = read_journal(spool, task_id, ())
    attempt = journal.attempts[number - 1] if number <= len(journal.attempts) else None
    if attempt is None or attempt.fence is None:
        # Between the file and the fence there is nothing to do, nor if a job was first.
        is_owned = attempt is not None and attempt.owner is not None
        is_gone = has_tombstone(spool, task_id) or not spool.task(task_id).path.exists()
        return replace(before, is_dropped=is_owned or is_gone)
    after = replace(before, is_fenced=True, is_answered=attempt.submitted is not None)
    if attempt.submitted is not None and attempt.submitted.job_id is not None and not before.job_ids:
        return replace(after, job_ids=(JobId(attempt.submitted.job_id),), since_s=now_s)
    return after


def count_poll(before: Leftover, lines: Sequence[JobLine], now_s: float) -> Leftover:
    """Add what a good poll lists under the name."""
    live = tuple(line.job_id for line in lines if classify_state(line.state).kind != "ended")
    if live:
        return replace(before, has_ended=False, job_ids=live, absent_polls=0)
    return replace(
        before,
        has_ended=bool(lines),
        absent_since_s=before.absent_since_s if before.absent_polls else now_s,
        absent_polls=before.absent_polls + 1,
    )


def is_over(leftover: Leftover, settings: AgentSettings, now_s: float) -> bool:
    """True if Slurm has nothing of it any more, or there is nothing to cancel. An sbatch may still be under way."""
    if leftover.is_dropped or leftover.has_ended:
        return True
    if leftover.job_ids:
        return leftover.absent_polls > 0
    under_way_s = 0.0 if leftover.is_answered else settings.slurm.sbatch_timeout_s
    is_old = now_s - leftover.absent_since_s >= settings.waits.fence_after_s + under_way_s
    return leftover.absent_polls >= 2 and is_old
