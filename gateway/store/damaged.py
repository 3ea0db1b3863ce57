"""Reads rows into values, whatever is in them: one damaged row never fails a list."""

import json
from datetime import UTC, datetime

import structlog
from pydantic import ValidationError

from gateway.store.models import Attempt, StoredReport, Task
from gateway.store.timestamps import parse_timestamp
from mltm.contract.base_models import JsonObject
from mltm.contract.reports import Report, StatusNote, parse_details
from mltm.contract.states import State, is_final
from mltm.contract.user_api import AttemptAnswer, TaskAnswer

__all__ = ["read_attempt", "read_config", "read_report", "read_state", "render_damaged"]

_log = structlog.get_logger(__name__)
_MESSAGE = "The gateway's database entry for this is damaged. Only a part is shown. Tell the administrator."
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def read_report(row: StoredReport) -> Report | None:
    """Read a stored report; None if it cannot be read (logged)."""
    try:
        return parse_details(Report, row.body)
    except ValidationError as error:
        _log_damage("report", row.task_id, error)
        return None


def read_attempt(row: Attempt, state: State) -> AttemptAnswer:
    """Read an attempt. One that cannot be read gets its task's state, and a message."""
    try:
        return parse_details(AttemptAnswer, row.body)
    except ValidationError as error:
        _log_damage("attempt", row.task_id, error)
        return AttemptAnswer(attempt=max(1, row.attempt), state=state, message=_MESSAGE)


def read_config(row: Task) -> JsonObject:
    """Read a task's config; empty if it cannot be read."""
    try:
        config: JsonObject = json.loads(row.config)
    except ValueError as error:
        _log_damage("config", row.task_id, error)
        return {}
    return config


def render_damaged(row: Task, attempts: list[AttemptAnswer], error: Exception) -> TaskAnswer:
    """Show what can be read of a task with a damaged row."""
    _log_damage("task", row.task_id, error)
    state = read_state(row.state)
    return TaskAnswer(
        task_id=row.task_id, id=row.task_id, state=state, final=is_final(state), reason=str(row.reason),
        note=StatusNote(kind="attention", message=_MESSAGE), owner=row.owner, cluster=row.cluster,
        runner_location=row.cluster,
        submitted_at=_read_timestamp(row.submitted_at), updated_at=_read_timestamp(row.updated_at), attempts=attempts,
        cancel_requested=bool(row.cancel_requested),
    )  # fmt: skip


def read_state(text: str) -> State:
    """Read a task's state. An unknown state (of a newer version) ends nothing: it becomes `accepted`."""
    return State(text) if text in set(State) else State.ACCEPTED


def _read_timestamp(text: str) -> datetime:
    try:
        return parse_timestamp(text)
    except ValueError:
        return _NEVER


def _log_damage(what: str, task_id: str, error: Exception) -> None:
    _log.error("row_damaged", what=what, task_id=task_id, error=type(error).__name__)
