"""Builds the last report of each task again, for a gateway whose database was restored or replaced."""

import contextlib
from collections.abc import Iterator

from pydantic import ValidationError

from agent.protocol.task_report import ReportDraft
from agent.spool.observations import list_kept
from agent.spool.tombstones import list_tasks, read_manifest, read_tombstone
from mltm.contract.ids import TaskId
from mltm.contract.reports import parse_details
from mltm.contract.spool_layout import Spool
from mltm.contract.states import Evidence, State

__all__ = ["read_last_report", "read_last_reports"]


def read_last_reports(spool: Spool) -> Iterator[ReportDraft]:
    """The last report of each task in tasks/ and done/, its config included. Raises OSError."""
    for task_id in list_tasks(spool):
        draft = read_last_report(spool, task_id)
        if draft is not None:
            yield draft


def read_last_report(spool: Spool, task_id: TaskId) -> ReportDraft | None:
    """A task's last report with its config; None if it is not a task yet. Raises OSError.

    It is a new report: the old one with a manifest added would have the same number and another content. If nothing
    was reported of the task yet, it says only that the task is here, and any other report overrides it.
    """
    draft = read_tombstone(spool, task_id) or _read_last(spool, task_id)
    manifest = read_manifest(spool, task_id) or (draft.manifest if draft else None)
    if draft is None and manifest is None:
        return None
    draft = draft or ReportDraft(task_id=task_id, attempt=1, state=State.ACCEPTED, evidence=Evidence.NONE, taken=True)
    return draft.model_copy(update={"manifest": manifest, "at": None})


def _read_last(spool: Spool, task_id: TaskId) -> ReportDraft | None:
    # Of several boots (or hosts), the one that observed the task last is right.
    told = [kept.told.last_report for kept in list_kept(spool, task_id) if kept.told.last_report]
    with contextlib.suppress(ValidationError):
        return parse_details(ReportDraft, told[0]) if told else None
    return None
