"""Reports: each is stored once. A task's row follows from the set of its reports, in the same transaction."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import structlog
from pydantic import ValidationError

from gateway.store.damaged import read_state
from gateway.store.joined import Joined, load_joined, save_joined
from gateway.store.keys import is_sealed
from gateway.store.models import Attempt, Outbox, StoredReport, Task, render_timestamp
from gateway.store.prepared import PreparedReport, digest_stored, prepare_report
from gateway.store.tasks import add_event, insert_row
from gateway.values import AgentIdentity
from mltm.contract.agent_api import ReportOutcome
from mltm.contract.joined_reports import rank_report
from mltm.contract.manifest import Manifest
from mltm.contract.reports import AttemptView, Report, TaskView
from mltm.contract.states import is_allowed
from mltm.contract.user_api import AttemptAnswer

__all__ = ["store_report", "store_reports"]

_log = structlog.get_logger(__name__)


def store_reports(agent: AgentIdentity, prepared: Sequence[PreparedReport], now: datetime) -> list[ReportOutcome]:
    """Store reports and merge each task once. One outcome for each report says what happened to it."""
    joined: dict[str, Joined] = {}
    outcomes = [_store_one(agent, each, joined, now) for each in prepared]
    for each in joined.values():
        _merge(each, now)
    return outcomes


def store_report(agent: AgentIdentity, report: Report, now: datetime) -> ReportOutcome:
    """Store one report and merge it; the outcome says what happened to it."""
    (outcome,) = store_reports(agent, [prepare_report(report)], now)
    return outcome


def _store_one(
    agent: AgentIdentity, prepared: PreparedReport, joined: dict[str, Joined], now: datetime
) -> ReportOutcome:
    report = prepared.report
    if prepared.problem:
        return _build_outcome(report, "refused", prepared.problem)
    known: StoredReport | None = StoredReport.get_or_none(
        StoredReport.spool_id == report.spool_id, StoredReport.epoch == report.epoch, StoredReport.seq == report.seq
    )
    if known is not None:
        return (
            _build_outcome(report, "known")
            if prepared.digest == known.sha256 or prepared.digest == digest_stored(known, report)
            else _build_outcome(report, "conflict", "Another report has this number already.")
        )
    message = _refuse(agent, report, now)
    if message:
        return _build_outcome(report, "refused", message)
    if not Task.select().where(Task.task_id == report.task_id).exists():
        return _build_outcome(report, "unknown_task", "The task is not known here, and the report has no manifest.")
    if report.task_id not in joined:
        joined[report.task_id] = load_joined(report.task_id)
    return _store_new(agent, prepared, joined[report.task_id], now)


def _store_new(agent: AgentIdentity, prepared: PreparedReport, joined: Joined, now: datetime) -> ReportOutcome:
    report, size = prepared.report, len(prepared.body)
    message = joined.explain_excess(report, size)
    if message:
        if not joined.refused:
            add_event(report.task_id, read_state(Task.get_by_id(report.task_id).state), message, now)
            _log.warning("reports_over_caps", task_id=report.task_id, agent_id=agent.agent_id, message=message)
        joined.refused += 1
        return _build_outcome(report, "refused", message)
    joined.join(report, rank_report(report, prepared.digest), size)
    StoredReport.create(
        spool_id=report.spool_id, epoch=report.epoch, seq=report.seq, sha256=prepared.digest, task_id=report.task_id,
        agent_id=agent.agent_id, received_at=render_timestamp(now), body=prepared.body,
    )  # fmt: skip
    return _build_outcome(report, "taken")


def _build_outcome(report: Report, outcome: str, message: str = "") -> ReportOutcome:
    return ReportOutcome.model_validate(
        {"epoch": report.epoch, "seq": report.seq, "outcome": outcome, "message": message}
    )


def _refuse(agent: AgentIdentity, report: Report, now: datetime) -> str:
    """Why this agent may not report this, or "". A task that is new here gets its row, from the report's manifest."""
    if report.spool_id != agent.spool_id:
        return "The report is from another spool than this agent's."
    row: Task | None = Task.get_or_none(Task.task_id == report.task_id)
    if row is not None:
        return "" if row.agent_id == agent.agent_id else "The task belongs to another agent."
    if report.manifest is None:
        return ""
    if report.manifest.task_id != report.task_id or report.manifest.cluster != agent.cluster:
        return "The report's manifest is for another task or cluster."
    owner = _find_owner(agent, report.manifest)
    if owner is None:
        return (
            "The task is not known here, and its manifest has no valid seal of this gateway, which says whose it is. "
            "Submit it again, or restore a newer backup of the gateway's database."
        )
    try:
        insert_row(report.manifest.model_copy(update={"owner": owner.name}), agent, now, owner.owner_id)
    except (ValidationError, ValueError) as error:
        return f"The manifest cannot be used: {error}"
    return ""


@dataclass(frozen=True)
class _Owner:
    """owner_id None: the user who has this name now."""

    name: str
    owner_id: str | None = None


def _find_owner(agent: AgentIdentity, manifest: Manifest) -> _Owner | None:
    """Whose a task is whose row was lost; None if only the agent says so.

    A private agent can speak for its owner alone. A shared one may only give back what this gateway sealed, or a drop
    of its own account.
    """
    if agent.owner is not None:
        return _Owner(agent.owner)
    if manifest.source == "drop":
        return _Owner(agent.unix_user or "unknown")
    return _Owner(manifest.owner, manifest.owner_id or None) if is_sealed(manifest, agent.spool_id) else None


def _merge(joined: Joined, now: datetime) -> None:
    task_id, view = joined.task_id, joined.build_view()
    row: Task = Task.get_by_id(task_id)
    if is_allowed(read_state(row.state), view.state):
        _write_row(row, view, now)
    for attempt in view.attempts:
        if attempt.attempt in joined.changed:
            _write_attempt(task_id, attempt)
    save_joined(joined)
    if view.taken:
        query = Outbox.update(step="taken").where(Outbox.task_id == task_id, Outbox.step.in_(("waiting", "published")))
        query.execute()


def _write_row(row: Task, view: TaskView, now: datetime) -> None:
    last = view.last
    # The database checks the rule again: only from the state that was read.
    query = Task.update(
        state=view.state.value,
        reason=(last.message if last else "") or view.note.message,
        note=view.note.model_dump_json(),
        taken=view.taken,
        updated_at=render_timestamp(now),
    )
    query.where(Task.task_id == row.task_id, Task.state == row.state).execute()


def _write_attempt(task_id: str, view: AttemptView) -> None:
    fields = {name: value for name, value in asdict(view).items() if name != "closed"}
    body = AttemptAnswer.model_validate(fields).model_dump_json(exclude_defaults=True)
    Attempt.insert(task_id=task_id, attempt=view.attempt, job_id=view.job_id, body=body).on_conflict_replace().execute()
