"""Rows back into values, whatever is in them: one row that is damaged, or older than a limit, fails no list."""

import json
from datetime import UTC, datetime

import structlog
from pydantic import ValidationError

from gateway.store.models import Attempt, StoredReport, Task
from gateway.store.timestamps import parse_moment
from mltm.contract.base_models import JsonObject
from mltm.contract.reports import Report, StatusNote, parse_details
from mltm.contract.states import State, is_final
from mltm.contract.user_api import AttemptAnswer, TaskAnswer

__all__ = ["read_attempt", "read_config", "read_report", "read_state", "render_damaged"]

_log = structlog.get_logger(__name__)
_WORDS = "What the gateway's database has of this is damaged, and is shown in part only. Tell the administrator."
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def read_report(row: StoredReport) -> Report | None:
    """A kept report; None if nothing can be made of it (said in the log)."""
    try:
        return parse_details(Report, row.body)
    except ValidationError as error:
        _tell("report", row.task_id, error)
        return None


def read_attempt(row: Attempt, state: State) -> AttemptAnswer:
    """An attempt; one that cannot be read is in its task's state, and says so."""
    try:
        return parse_details(AttemptAnswer, row.body)
    except ValidationError as error:
        _tell("attempt", row.task_id, error)
        return AttemptAnswer(attempt=max(1, row.attempt), state=state, message=_WORDS)


def read_config(row: Task) -> JsonObject:
    """A task's config; empty if it cannot be read."""
    try:
        config: JsonObject = json.loads(row.config)
    except ValueError as error:
        _tell("config", row.task_id, error)
        return {}
    return config


def render_damaged(row: Task, attempts: list[AttemptAnswer], error: Exception) -> TaskAnswer:
    """What can be said of a task whose row cannot be read."""
    _tell("task", row.task_id, error)
    state = read_state(row.state)
    return TaskAnswer(
        task_id=row.task_id, id=row.task_id, state=state, final=is_final(state), reason=str(row.reason),
        note=StatusNote(kind="attention", message=_WORDS), owner=row.owner, cluster=row.cluster,
        runner_location=row.cluster,
        submitted_at=_read_moment(row.submitted_at), updated_at=_read_moment(row.updated_at), attempts=attempts,
        cancel_requested=bool(row.cancel_requested),
    )  # fmt: skip


def read_state(text: str) -> State:
    """A task's state; one that is not known (of a newer version) ends nothing: it is `accepted`."""
    return State(text) if text in set(State) else State.ACCEPTED


def _read_moment(text: str) -> datetime:
    try:
        return parse_moment(text)
    except ValueError:
        return _NEVER


def _tell(what: str, task_id: str, error: Exception) -> None:
    _log.error("row_damaged", what=what, task_id=task_id, error=type(error).__name__)
