"""What is kept of a task that ended: a tombstone in done/ with its last report. It outlives everything else.

Nothing here removes a user's outputs.
"""

from collections.abc import Iterator

import structlog
from pydantic import ValidationError

from agent.errors import SpoolError
from agent.protocol.task_report import ReportDraft
from mltm.contract.ids import TaskId, parse_task_id
from mltm.contract.manifest import Manifest
from mltm.contract.reports import parse_details
from mltm.contract.spool_layout import Spool
from mltm.runtime import files
from mltm.runtime.clock import Clock

__all__ = ["deactivate_task", "has_tombstone", "list_tasks", "read_manifest", "read_tombstone", "write_tombstone"]

_log = structlog.get_logger(__name__)


def write_tombstone(spool: Spool, task_id: TaskId, report_json: str, clock: Clock) -> None:
    """Keep a task's last report, synced. A correction replaces it. Raises OSError."""
    files.replace(spool.tombstone(task_id), report_json.encode(), clock.nonce(), 0o600)


def has_tombstone(spool: Spool, task_id: TaskId) -> bool:
    """True for a task that has ended. Raises OSError: a file system that fails is not an answer."""
    return files.read_bytes(spool.tombstone(task_id), 1) is not None


def deactivate_task(spool: Spool, task_id: TaskId) -> None:
    """Make a task with a tombstone inactive. Raises SpoolError if it has none, OSError."""
    if not has_tombstone(spool, task_id):
        raise SpoolError(f"Task {task_id} has no tombstone yet, so it stays active.")
    files.remove(spool.active / task_id)
    files.sync_folder(spool.active)


def read_manifest(spool: Spool, task_id: TaskId) -> Manifest | None:
    """Read a task's manifest; None if there is none, or it is not valid. Raises OSError."""
    raw = files.read_bytes(spool.task(task_id).manifest)
    try:
        return None if raw is None else Manifest.model_validate_json(raw)
    except ValidationError:
        return None


def read_tombstone(spool: Spool, task_id: TaskId) -> ReportDraft | None:
    """Read a task's last report, without the identity that it was sent with. Raises OSError."""
    raw = files.read_bytes(spool.tombstone(task_id))
    try:
        return None if raw is None else parse_details(ReportDraft, raw)
    except ValidationError as error:
        _log.error("tombstone_unreadable", task_id=task_id, error=str(error))
        return None


def list_tasks(spool: Spool) -> Iterator[TaskId]:
    """Every task of tasks/ and done/, once. Raises OSError."""
    for name in sorted({*files.list_names(spool.tasks), *files.list_names(spool.done)}):
        try:
            yield parse_task_id(name)
        except ValueError:
            continue
