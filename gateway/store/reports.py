"""Reports of agents: each is kept once; the task row is computed from the set of them, in one transaction."""

from datetime import datetime

import structlog

from gateway.store.models import Attempt, Outbox, StoredReport, Task, UserRow
from gateway.store.moments import render_moment
from gateway.store.tasks import insert_row
from gateway.values import AgentIdentity
from mltm.contract.agent_api import ReportOutcome
from mltm.contract.reports import AttemptView, Report, TaskView, digest_report, view_task
from mltm.contract.states import State, is_allowed
from mltm.contract.user_api import AttemptAnswer

__all__ = ["merge", "store_reports"]

_log = structlog.get_logger(__name__)


def store_reports(agent: AgentIdentity, reports: list[Report], now: datetime) -> list[ReportOutcome]:
    """Keep each report and merge the tasks that they touch; one outcome a report, in their order."""
    outcomes = [_store(agent, report, now) for report in reports]
    pairs = zip(reports, outcomes, strict=True)
    for task_id in sorted({report.task_id for report, outcome in pairs if outcome.outcome == "taken"}):
        merge(task_id, now)
    return outcomes


def _store(agent: AgentIdentity, report: Report, now: datetime) -> ReportOutcome:
    def outcome(**fields: str) -> ReportOutcome:
        return ReportOutcome.model_validate({"epoch": report.epoch, "seq": report.seq, **fields})

    if report.spool_id != agent.spool_id:
        return outcome(outcome="refused", words="This report is of another spool than this agent's.")
    digest = digest_report(report)
    before: StoredReport | None = StoredReport.get_or_none(
        StoredReport.spool_id == report.spool_id, StoredReport.epoch == report.epoch, StoredReport.seq == report.seq
    )
    if before is not None and before.sha256 == digest:
        return outcome(outcome="known")
    if before is not None:
        return outcome(outcome="conflict", words="This epoch and sequence were used before for another report.")
    refusal = _refuse(agent, report, now)
    if refusal:
        return outcome(outcome="refused", words=refusal)
    StoredReport.create(
        spool_id=report.spool_id,
        epoch=report.epoch,
        seq=report.seq,
        sha256=digest,
        task_id=report.task_id,
        agent_id=agent.agent_id,
        received_at=render_moment(now),
        body=report.model_dump_json(),
    )
    return outcome(outcome="taken")


def _refuse(agent: AgentIdentity, report: Report, now: datetime) -> str:
    task: Task | None = Task.get_or_none(Task.task_id == report.task_id)
    if task is not None:
        return "" if task.agent_id == agent.agent_id else "This task is not one of this agent's."
    manifest = report.manifest
    if manifest is None:
        return "This task is not known here, and the report carries no manifest to make it from."
    if manifest.task_id != report.task_id or manifest.cluster != agent.cluster:
        return f"The manifest is of another task or cluster ({manifest.task_id}, {manifest.cluster})."
    owner = agent.owner or manifest.owner
    if agent.owner is None and not UserRow.select().where(UserRow.username == owner).exists():
        return f"The task's owner {owner[:80]!r} is no user of this gateway."
    insert_row(manifest.model_copy(update={"owner": owner}), agent, now)
    return ""


def merge(task_id: str, now: datetime) -> None:
    """Compute the task's row from all its reports. A change that the states' table forbids is logged, not made."""
    stored = StoredReport.select().where(StoredReport.task_id == task_id)
    view = view_task([Report.model_validate_json(row.body) for row in stored])
    row = Task.get_by_id(task_id)
    before = State(row.state)
    if not is_allowed(before, view.state):
        _log.error("merge_forbidden", task_id=task_id, state=before.value, reported=view.state.value)
        return
    changed = Task.update(
        state=view.state.value,
        reason=_reason(view),
        note=view.note.model_dump_json(),
        taken=view.taken,
        updated_at=render_moment(now),
    ).where(Task.task_id == task_id, Task.state == before.value)
    changed.execute()
    _write_attempts(task_id, view)
    if view.taken:
        Outbox.update(step="taken").where(Outbox.task_id == task_id).execute()
    if before != view.state:
        _log.info("task_changed", task_id=task_id, state=view.state.value, before=before.value)


def _reason(view: TaskView) -> str:
    return (view.last.words if view.last else "") or view.note.words


def _write_attempts(task_id: str, view: TaskView) -> None:
    for attempt in view.attempts:
        Attempt.insert(
            task_id=task_id, attempt=attempt.attempt, job_id=attempt.job_id, body=_show(attempt).model_dump_json()
        ).on_conflict_replace().execute()


def _show(view: AttemptView) -> AttemptAnswer:
    return AttemptAnswer.model_validate({name: getattr(view, name) for name in AttemptAnswer.model_fields})
