"""Keeps what the reports of a task say together, and the caps of one task: reports, attempts, bytes.

A task without rows, or with damaged ones, is computed again from its stored reports.
"""

from dataclasses import dataclass, field
from typing import Final

import structlog
from pydantic import ValidationError

from gateway.store.damaged import read_report
from gateway.store.models import JoinedAttemptRow, JoinedTaskRow, StoredReport
from gateway.store.prepared import render_body
from mltm.contract.joined_reports import (
    JoinedAttempt,
    JoinedTask,
    Rank,
    build_view,
    join_attempt,
    join_task,
    rank_report,
)
from mltm.contract.reports import Report, TaskView

__all__ = [
    "MAX_TASK_ATTEMPTS", "MAX_TASK_BYTES", "MAX_TASK_REPORTS", "Joined", "count_over_caps", "load_joined",
    "save_joined",
]  # fmt: skip

MAX_TASK_REPORTS: Final = 10_000
MAX_TASK_ATTEMPTS: Final = 2_000
MAX_TASK_BYTES: Final = 16 * 1024 * 1024
# Of a task at its caps the end must still be told, and corrected.
_END_REPORTS: Final = 100
_END_BYTES: Final = 4 * 1024 * 1024
_log = structlog.get_logger(__name__)


@dataclass
class Joined:
    """What is known of one task while reports are joined to it. `attempts`: those that were read or changed."""

    task_id: str
    task: JoinedTask = field(default_factory=JoinedTask)
    attempts: dict[int, JoinedAttempt] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)
    is_whole: bool = False  #: all its attempts are in `attempts`
    reports: int = 0
    attempt_count: int = 0
    size: int = 0
    refused: int = 0

    def join(self, report: Report, rank: Rank, size: int) -> None:
        """Join one report of `size` stored bytes."""
        before = self.find(report.attempt)
        self.attempts[report.attempt] = join_attempt(before, report, rank)
        self.changed.add(report.attempt)
        self.task = join_task(self.task, report, rank)
        self.reports, self.size = self.reports + 1, self.size + size
        self.attempt_count += before is None

    def find(self, attempt: int) -> JoinedAttempt | None:
        """What is known of an attempt; None before its first report. A damaged row: all is computed again."""
        if attempt not in self.attempts and not self.is_whole:
            mine = (JoinedAttemptRow.task_id == self.task_id) & (JoinedAttemptRow.attempt == attempt)
            row: JoinedAttemptRow | None = JoinedAttemptRow.get_or_none(mine)
            if row is not None:
                try:
                    self.attempts[attempt] = JoinedAttempt.model_validate_json(row.body)
                except ValidationError as error:
                    _log.error("row_damaged", what="joined", task_id=self.task_id, error=type(error).__name__)
                    self.compute_again()
        return self.attempts.get(attempt)

    def compute_again(self) -> None:
        """Compute all of it from the stored reports."""
        self.task, self.attempts, self.changed = JoinedTask(), {}, set()
        self.reports = self.attempt_count = self.size = 0
        self.is_whole = True
        for row in StoredReport.select().where(StoredReport.task_id == self.task_id).iterator():
            report = read_report(row)
            if report is not None:
                self.join(report, rank_report(report, row.sha256), len(render_body(report)))

    def explain_excess(self, report: Report, size: int) -> str:
        """Why the caps of a task do not allow this report, or ""."""
        spare = _END_REPORTS if report.closed else 0
        is_new = self.attempt_count >= MAX_TASK_ATTEMPTS and self.find(report.attempt) is None
        if self.reports >= MAX_TASK_REPORTS + spare:
            what = f"{MAX_TASK_REPORTS:,} reports"
        elif is_new and self.attempt_count >= MAX_TASK_ATTEMPTS + spare:
            what = f"{MAX_TASK_ATTEMPTS:,} attempts"
        elif self.size + size > MAX_TASK_BYTES + (_END_BYTES if report.closed else 0):
            what = f"{MAX_TASK_BYTES:,} bytes"
        else:
            return ""
        return (
            f"The gateway keeps at most {what} of reports of one task, and task {self.task_id} has them. Only its end "
            "is still taken. Cancel the task if it tries without success."
        )

    def build_view(self) -> TaskView:
        """The task, with the attempts that changed and the deciding one. All reports are stored by now."""
        if self.task.deciding and self.find(self.task.deciding) is None:
            self.compute_again()
        shown = self.changed | ({self.task.deciding} & self.attempts.keys())
        return build_view(self.task, {number: self.attempts[number] for number in shown})


def load_joined(task_id: str) -> Joined:
    """Read what is known of a task."""
    joined = Joined(task_id)
    row: JoinedTaskRow | None = JoinedTaskRow.get_or_none(JoinedTaskRow.task_id == task_id)
    try:
        joined.task = JoinedTask.model_validate_json(row.body if row else "")
    except ValidationError as error:
        if row is not None:
            _log.error("row_damaged", what="joined", task_id=task_id, error=type(error).__name__)
        joined.compute_again()
        joined.refused = row.refused if row else 0
        return joined
    if row is not None:
        joined.reports, joined.attempt_count = row.reports, row.attempts
        joined.size, joined.refused = row.size, row.refused
    return joined


def save_joined(joined: Joined) -> None:
    """Write what changed."""
    for number in joined.changed:
        body = joined.attempts[number].model_dump_json(exclude_defaults=True)
        row = JoinedAttemptRow.insert(task_id=joined.task_id, attempt=number, body=body)
        row.on_conflict_replace().execute()
    JoinedTaskRow.insert(
        task_id=joined.task_id, body=joined.task.model_dump_json(exclude_defaults=True), reports=joined.reports,
        attempts=joined.attempt_count, size=joined.size, refused=joined.refused,
    ).on_conflict_replace().execute()  # fmt: skip


def count_over_caps() -> int:
    """Count the tasks of which reports were refused because of their caps."""
    return int(JoinedTaskRow.select().where(JoinedTaskRow.refused > 0).count())
