"""Reads rows into values, whatever is in them: one damaged row never fails a list."""

import json
from datetime import UTC, datetime

import structlog
from pydantic import ValidationError

from gateway.store.models import Attempt, Command, Event, StoredReport, Task, parse_timestamp
from mltm.contract import user_api
from mltm.contract.agent_api import Ack, CommandMessage
from mltm.contract.base_models import JsonObject, render_canonical
from mltm.contract.reports import Report, StatusNote, parse_details
from mltm.contract.states import State, is_final
from mltm.contract.user_api import AttemptAnswer, TaskAnswer

__all__ = [
    "read_ack", "read_attempt", "read_command", "read_config", "read_event", "read_report", "read_state",
    "render_damaged",
]  # fmt: skip

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
        config = json.loads(row.config)
        if not isinstance(config, dict):
            raise TypeError("not a JSON object")  # noqa: TRY301 - it is logged like the others
        render_canonical(config)  # NaN and half a surrogate pair would fail the answer
    except (ValueError, TypeError, RecursionError) as error:
        _log_damage("config", row.task_id, error)
        return {}
    return config


def read_event(row: Event) -> user_api.Event | None:
    """Read a line of the gateway's own in a task's history; None if it cannot be read (logged)."""
    try:
        at, state = parse_timestamp(row.at), State(row.state)
        return user_api.Event(at=at, state=state, message=row.message, source="gateway")
    except (ValueError, TypeError) as error:
        _log_damage("event", row.task_id, error)
        return None


def read_command(row: Command) -> CommandMessage | None:
    """Read a command; None if it cannot be read (logged)."""
    try:
        return CommandMessage.model_validate_json(row.body)
    except ValidationError as error:
        _log_damage("command", row.task_id, error)
        return None


def read_ack(row: Command) -> Ack:
    """Read the answer to a closed command; one that cannot be read is a refusal that says so."""
    try:
        return Ack.model_validate_json(row.answer or "")
    except ValidationError as error:
        _log_damage("answer", row.task_id, error)
        return Ack(outcome="refused", message=_MESSAGE)


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
