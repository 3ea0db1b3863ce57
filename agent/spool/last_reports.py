"""Everything that this spool knows, as new reports: for a gateway whose database is another than before."""

import contextlib
from collections.abc import Iterator

from pydantic import ValidationError

from agent.spool.outbox import ReportDraft
from agent.spool.tombstones import list_tasks, read_manifest, read_tombstone
from agent.tasks.memory import list_observations
from mltm.contract.ids import TaskId
from mltm.contract.reports import parse_details
from mltm.contract.spool_layout import Spool
from mltm.contract.states import Evidence, State

__all__ = ["report_again", "reports_again"]


def reports_again(spool: Spool) -> Iterator[ReportDraft]:
    """The last report of each task in tasks/ and done/, its config included. Raises OSError."""
    for task_id in list_tasks(spool):
        draft = report_again(spool, task_id)
        if draft is not None:
            yield draft


def report_again(spool: Spool, task_id: TaskId) -> ReportDraft | None:
    """A task's last report with its config; None for what is no task yet. Raises OSError.

    It is a new report: the old one with a manifest added would be the same number with another content. Of a task
    that nothing was reported of yet it says only that it is here, which any other report outweighs.
    """
    draft = read_tombstone(spool, task_id) or _read_last(spool, task_id)
    manifest = read_manifest(spool, task_id) or (draft.manifest if draft else None)
    if draft is None and manifest is None:
        return None
    draft = draft or ReportDraft(task_id=task_id, attempt=1, state=State.ACCEPTED, evidence=Evidence.NONE, taken=True)
    return draft.model_copy(update={"manifest": manifest, "at": None})


def _read_last(spool: Spool, task_id: TaskId) -> ReportDraft | None:
    # Of several boots (or hosts) the one that saw the task last knows best.
    told = [seen.last_report for seen in list_observations(spool, task_id) if seen.last_report]
    with contextlib.suppress(ValidationError):
        return parse_details(ReportDraft, told[0]) if told else None
    return None
