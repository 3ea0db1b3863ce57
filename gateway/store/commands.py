"""Commands to agents: open until the agent's acknowledgement, repeated at every poll.

Wishes (cancel, hold, release) stay open for ever. Questions (for bytes, for a list) expire.
"""

from datetime import datetime, timedelta
from typing import Literal, get_args

import peewee

from gateway.errors import ConflictError, InvalidError, NotFoundError
from gateway.store.models import Command, Task
from gateway.store.tasks import add_event, find_task
from gateway.store.timestamps import render_moment
from gateway.values import AgentIdentity, User
from mltm.contract.agent_api import Ack, CommandMessage
from mltm.contract.problems import FieldProblem
from mltm.contract.routes import AGENT_BYTES
from mltm.contract.states import State, is_final
from mltm.contract.user_api import CancelAnswer, HoldAnswer

__all__ = [
    "QUESTION_LIFE", "HoldKind", "add_command", "close_answered", "close_command", "drop_expired", "find_command",
    "list_open", "read_closed", "request_cancel", "request_hold",
]  # fmt: skip

HoldKind = Literal["hold", "release"]
"""The agent obeys the one with the greater command id, whatever the order in which they arrive."""

QUESTION_LIFE = timedelta(minutes=10)
"""How long an agent may still be asked for bytes or a list: who asked has long had a 504 (20 s) and asks again."""

_MOST_OPEN = 200
_WISHES = frozenset({"cancel", *get_args(HoldKind)})


def add_command(agent_id: str, command: CommandMessage, now: datetime) -> None:
    """Make a command."""
    Command.create(
        command_id=command.command_id, agent_id=agent_id, task_id=command.task_id, kind=command.kind,
        body=command.model_dump_json(exclude_defaults=True), created_at=render_moment(now),
    )  # fmt: skip


def drop_expired(now: datetime) -> None:
    """Forget questions that nobody waits for any more, answered or not. Wishes stay: they are the task's history."""
    Command.delete().where(~_is_wish(), Command.created_at <= render_moment(now - QUESTION_LIFE)).execute()


def list_open(agent_id: str, now: datetime) -> list[CommandMessage]:
    """The agent's open commands: wishes before questions, each oldest first; questions that have expired left out."""
    is_open = (Command.agent_id == agent_id) & Command.closed_at.is_null()
    is_alive = _is_wish() | (Command.created_at > render_moment(now - QUESTION_LIFE))
    order = (peewee.Case(None, [(_is_wish(), 0)], 1), Command.command_id)
    rows = Command.select().where(is_open, is_alive).order_by(*order).limit(_MOST_OPEN)
    return [CommandMessage.model_validate_json(row.body) for row in rows]


def _is_wish() -> peewee.Expression:
    return Command.kind.in_(sorted(_WISHES))


def find_command(agent: AgentIdentity, command_id: str) -> Command:
    """The row of a command to this agent. Raises NotFoundError (command_not_found)."""
    row: Command | None = Command.get_or_none(Command.command_id == command_id, Command.agent_id == agent.agent_id)
    if row is None:
        raise NotFoundError(f"There is no command {command_id[:80]!r} for this agent.", key="command_not_found")
    return row


def close_command(agent: AgentIdentity, command_id: str, ack: Ack, now: datetime) -> None:
    """Close a command as its agent says; again is harmless.

    Raises NotFoundError (command_not_found), InvalidError (bytes_needed): only bytes carry out a send_bytes.
    """
    row = find_command(agent, command_id)
    if row.kind == "send_bytes" and ack.outcome != "refused":
        raise InvalidError(
            f"Command {command_id} asks for bytes of a file; an acknowledgement that it is done brings none.",
            key="bytes_needed",
            next_step=f"Send them: PUT {AGENT_BYTES.format(command_id=command_id)}, or answer `refused` in words.",
        )
    _close(row, ack, now)


def close_answered(agent: AgentIdentity, command_id: str, now: datetime) -> None:
    """Close a send_bytes whose bytes are in place; again is harmless. Raises NotFoundError (command_not_found)."""
    _close(find_command(agent, command_id), Ack(outcome="done"), now)


def _close(row: Command, ack: Ack, now: datetime) -> None:
    if row.closed_at is not None:
        return
    row.closed_at, row.outcome, row.message = render_moment(now), ack.outcome, ack.message
    row.answer = ack.model_dump_json()
    row.save()
    if ack.outcome == "refused" and row.kind in _WISHES:
        _take_back(row, now)


def _take_back(row: Command, now: datetime) -> None:
    """A wish that was refused is none any more: asking again makes a new command."""
    task: Task = Task.get_by_id(row.task_id)
    add_event(row.task_id, State(task.state), f"the agent did not {row.kind} it: {row.message}", now)
    if row.kind == "cancel":
        Task.update(cancel_requested=False).where(Task.task_id == row.task_id).execute()


def read_closed(command_id: str) -> Ack | None:
    """The acknowledgement of a command; None while it is open."""
    row: Command | None = Command.get_or_none(Command.command_id == command_id, ~Command.closed_at.is_null())
    return Ack.model_validate_json(row.answer) if row is not None and row.answer else None


def request_cancel(user: User, task_id: str, command_id: str, now: datetime) -> CancelAnswer:
    """Record the wish, once. Raises NotFoundError, ConflictError (already_final)."""
    row, state = _find_active(user, task_id)
    if not row.cancel_requested:
        Task.update(cancel_requested=True, updated_at=render_moment(now)).where(Task.task_id == task_id).execute()
        add_event(task_id, state, f"{user.username} asked for its cancel", now)
        command = CommandMessage(command_id=command_id, kind="cancel", task_id=task_id, by=user.username)
        add_command(row.agent_id, command, now)
    return CancelAnswer(task_id=task_id, state=state, cancel_requested=True)


def request_hold(user: User, task_id: str, kind: HoldKind, command_id: str, now: datetime) -> HoldAnswer:
    """Record a hold or a release; the same again makes no new command. Raises NotFoundError, ConflictError."""
    row, state = _find_active(user, task_id)
    last: Command | None = (
        Command.select()
        .where(Command.task_id == task_id, Command.kind.in_(get_args(HoldKind)))
        .order_by(Command.command_id.desc())
        .first()
    )
    if last is None or last.kind != kind or last.outcome == "refused":
        add_event(task_id, state, f"{user.username} asked to {kind} it", now)
        later = max(command_id, f"{int(last.command_id, 16) + 1:032x}") if last else command_id
        command = CommandMessage(command_id=later, kind=kind, task_id=task_id, by=user.username)
        add_command(row.agent_id, command, now)
    return HoldAnswer(task_id=task_id, state=state, hold_requested=kind == "hold")


def _find_active(user: User, task_id: str) -> tuple[Task, State]:
    row = find_task(user, task_id)
    state = State(row.state)
    if is_final(state):
        raise ConflictError(
            f"Task {task_id} has ended already, as {state}.",
            key="already_final",
            title="The task has ended",
            next_step="There is nothing to do for it; read its outputs, or submit it again.",
            fields=[FieldProblem(field="state", given=str(state), allowed="a task that has not ended")],
        )
    return row, state
