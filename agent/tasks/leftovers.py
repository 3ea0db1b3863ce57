"""Fenced attempts of which Slurm may still have a job: an empty file each in `agent/leftovers`, named like the job.

The list outlives the task's end, a kill of the agent and a Slurm that does not answer. It decides nothing: a file is
written before the fence is linked, and its job is cancelled only once the log says that an agent owns the attempt.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from agent.protocol.actions import PutFence
from agent.settings import AgentSettings
from agent.slurm.states import classify_state
from agent.slurm.values import JobLine
from agent.spool.records import read_task_log
from agent.spool.tombstones import has_tombstone
from mltm.contract.ids import JobId, TaskId, parse_job_name, render_job_name
from mltm.contract.spool_layout import Spool
from mltm.runtime import files
from mltm.runtime.clock import Clock

__all__ = ["Leftover", "count_poll", "forget_leftover", "is_over", "list_leftovers", "note_leftover", "read_leftover"]

# The other reasons are given where Slurm has refused the job, forgotten it, or shown its end.
_LEAVES_A_JOB = frozenset({"cancel", "ambiguous", "launch_failed", "no_claim"})


@dataclass
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


def note_leftover(spool: Spool, task_id: TaskId, step: PutFence, clock: Clock) -> None:
    """Put a job on the list, durably, before its fence is linked. Raises OSError."""
    if step.reason in _LEAVES_A_JOB:
        files.replace(spool.leftovers / render_job_name(task_id, step.number), b"", clock.nonce(), 0o600)


def list_leftovers(spool: Spool) -> list[str]:
    """The job names on the list. Raises OSError."""
    return [name for name in files.list_names(spool.leftovers) if parse_job_name(name) is not None]


def forget_leftover(spool: Spool, name: str) -> None:
    """Take a job off the list. Raises OSError; if a power loss brings it back, it is cancelled again."""
    files.remove(spool.leftovers / name)


def read_leftover(spool: Spool, leftover: Leftover, now_s: float) -> None:
    """Read in the task's log who owns the attempt and what sbatch said. Raises OSError, SpoolError."""
    named = parse_job_name(leftover.name)
    if named is None:
        return
    task_id, number = named
    log = read_task_log(spool, task_id, ())
    attempt = log.attempts[number - 1] if number <= len(log.attempts) else None
    if attempt is None or attempt.fence is None:
        # Between the file and the fence there is nothing to do, nor where a job was first.
        is_owned = attempt is not None and attempt.owner is not None
        leftover.is_dropped = is_owned or has_tombstone(spool, task_id) or not spool.task(task_id).path.exists()
        return
    leftover.is_fenced, leftover.is_answered = True, attempt.submitted is not None
    if attempt.submitted is not None and attempt.submitted.job_id is not None and not leftover.job_ids:
        leftover.job_ids, leftover.since_s = (JobId(attempt.submitted.job_id),), now_s


def count_poll(leftover: Leftover, lines: Sequence[JobLine], now_s: float) -> None:
    """Add what a good poll lists under the name."""
    live = tuple(line.job_id for line in lines if classify_state(line.state).kind != "ended")
    leftover.has_ended = bool(lines) and not live
    if live:
        leftover.job_ids, leftover.absent_polls = live, 0
        return
    leftover.absent_since_s = leftover.absent_since_s if leftover.absent_polls else now_s
    leftover.absent_polls += 1


def is_over(leftover: Leftover, settings: AgentSettings, now_s: float) -> bool:
    """True where Slurm has nothing of it any more, or it is nothing to cancel. An sbatch may still be under way."""
    if leftover.is_dropped or leftover.has_ended:
        return True
    if leftover.job_ids:
        return leftover.absent_polls > 0
    under_way_s = 0.0 if leftover.is_answered else settings.slurm.sbatch_timeout_s
    is_old = now_s - leftover.absent_since_s >= settings.waits.fence_after_s + under_way_s
    return leftover.absent_polls >= 2 and is_old
