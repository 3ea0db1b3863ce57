"""What lies on disk of one task now: its journal, read and made durable, and what agents kept. It decides nothing."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent.protocol.journal import AttemptJournal, TaskJournal
from agent.protocol.kept import Kept
from agent.protocol.task_report import ReportDraft
from agent.protocol.verdict import is_over_memory
from agent.spool.last_reports import read_last_report
from agent.spool.observations import list_kept
from agent.spool.records import name_deciding, read_journal, sync_found
from agent.spool.tombstones import has_tombstone
from agent.tasks.context import TaskContext
from agent.tasks.state import TaskState
from mltm.contract.ids import TaskId
from mltm.contract.spool_layout import Spool
from mltm.runtime import files

__all__ = ["EndedTask", "Facts", "list_records", "read_end", "read_facts"]


@dataclass(frozen=True)
class Facts:
    """One look at a task's folders. listing: the names in control/. kept: what agents kept of it, if that was needed.

    deciding: names the records that decide; they are durable. is_over_memory: Slurm's step daemon wrote that it killed
    the job for its memory.
    """

    journal: TaskJournal
    listing: tuple[str, ...]
    deciding: tuple[object, ...]
    beat_ns: int | None = None
    kept: tuple[Kept, ...] = ()
    is_over_memory: bool = False


@dataclass(frozen=True)
class EndedTask:
    """A task of which only the tombstone is left. last_report: None if it cannot be told again."""

    last_report: ReportDraft | None


def list_records(task_id: TaskId, context: TaskContext) -> tuple[str, ...]:
    """The names in a task's control folder. Raises OSError."""
    return tuple(files.list_names(context.spool.task(task_id).control))


def read_end(task_id: TaskId, listing: tuple[str, ...], context: TaskContext) -> EndedTask | None:
    """The end of a task that is active although it ended: its bundle or a cancel came once more. Raises OSError."""
    spool = context.spool
    if spool.task(task_id).attempt(1).intent.name in listing or not has_tombstone(spool, task_id):
        return None
    return EndedTask(read_last_report(spool, task_id))


def read_facts(task_id: TaskId, listing: tuple[str, ...], before: TaskState, context: TaskContext) -> Facts:
    """Read a task's journal; what is new is durable when this returns. Raises OSError, SpoolError."""
    spool = context.spool
    journal = read_journal(spool, task_id, listing)
    if (deciding := name_deciding(journal)) != before.synced:
        sync_found(spool, journal, is_first=not before.synced)
    last = journal.last
    is_known = before.observed is not None and before.observed.attempt == (last.number if last else 0)
    return Facts(
        journal=journal,
        listing=listing,
        deciding=deciding,
        beat_ns=_read_mtime(spool.task(task_id).attempt(last.number).beat) if last else None,
        kept=() if is_known else _read_kept(spool, task_id),
        is_over_memory=last is not None and _seems_over(before) and _was_over_memory(spool, task_id, last),
    )


def _seems_over(before: TaskState) -> bool:
    return before.observed is not None and before.observed.over_since_s is not None


def _was_over_memory(spool: Spool, task_id: TaskId, last: AttemptJournal) -> bool:
    """Advice: what cannot be read says nothing."""
    text = None
    with suppress(OSError):
        text = files.read_bytes(spool.task(task_id).attempt(last.number).slurm_output)
    return is_over_memory((text or b"").decode(errors="replace"))


def _read_kept(spool: Spool, task_id: TaskId) -> tuple[Kept, ...]:
    """Advice: what cannot be read is seen anew."""
    with suppress(OSError):
        return tuple(list_kept(spool, task_id))
    return ()


def _read_mtime(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
