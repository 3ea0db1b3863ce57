"""The list of fenced attempts that may still have a job in Slurm: an empty file for each in `agent/leftovers`.

Each is named like its job. The list outlives the task's end, a kill of the agent and a Slurm that does not answer; it
decides nothing, because a job is cancelled only once the journal says that an agent owns the attempt.
"""

from mltm.contract.ids import TaskId, parse_job_name, render_job_name
from mltm.contract.journal_records import FenceReason
from mltm.contract.spool_layout import Spool
from mltm.runtime import files
from mltm.runtime.clock import Clock

__all__ = ["forget_leftover", "list_leftovers", "note_leftover"]

# The other reasons are given when Slurm has refused the job, forgotten it, or shown its end.
_LEAVES_A_JOB = frozenset({"cancel", "ambiguous", "launch_failed", "no_claim"})


def note_leftover(spool: Spool, task_id: TaskId, attempt: int, reason: FenceReason, clock: Clock) -> None:
    """Put a job on the list, durably, before its fence is linked. Raises OSError."""
    if reason in _LEAVES_A_JOB:
        files.replace(spool.leftovers / render_job_name(task_id, attempt), b"", clock.nonce(), 0o600)


def list_leftovers(spool: Spool) -> list[str]:
    """The job names on the list. Raises OSError."""
    return [name for name in files.list_names(spool.leftovers) if parse_job_name(name) is not None]


def forget_leftover(spool: Spool, name: str) -> None:
    """Take a job off the list. Raises OSError; if a power loss brings it back, it is cancelled again."""
    files.remove(spool.leftovers / name)
