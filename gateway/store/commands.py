"""Commands to agents: open until the agent's acknowledgement, repeated at every poll.

Requests of users (cancel, hold, release) stay open for ever. Questions (for bytes, for a list) expire.
"""

from collections import Counter
from datetime import datetime, timedelta
from typing import Literal, get_args

import peewee

from gateway.errors import ConflictError, InvalidError, NotFoundError
from gateway.store.damaged import read_ack, read_command, read_state
from gateway.store.models import Command, Task, render_timestamp
from gateway.store.tasks import add_event, find_task
from gateway.values import AgentIdentity, User
from mltm.contract.agent_api import Ack, CommandMessage
from mltm.contract.problems import FieldProblem
from mltm.contract.routes import AGENT_ACK, AGENT_BYTES, AGENT_COMMANDS
from mltm.contract.states import State, is_final
from mltm.contract.user_api import CancelAnswer, HoldAnswer

__all__ = [
    "QUESTION_LIFE", "HoldKind", "add_command", "add_question", "close_answered", "close_command", "find_question",
    "list_open", "read_closed", "request_cancel", "request_hold",
]  # fmt: skip

HoldKind = Literal["hold", "release"]
"""The agent obeys the command with the greatest id, in whatever order they arrive."""

QUESTION_LIFE = timedelta(minutes=10)
"""How long a question for bytes or a list stays open: whoever asked got a 504 after 20 s, and asks again."""

_ANSWER_LIFE = timedelta(minutes=1)  #: of a list that its reader has by now; it may have megabytes
_MAX_REQUESTS = 200
_MAX_QUESTIONS = 8
"""In one poll: an agent answers all of them before it polls again, and a cancel comes with the next poll."""
_REQUESTS = frozenset({"cancel", *get_args(HoldKind)})


def add_command(agent_id: str, command: CommandMessage, now: datetime) -> None:
    """Add a command."""
    Command.create(
        command_id=command.command_id, agent_id=agent_id, task_id=command.task_id, kind=command.kind,
        body=command.model_dump_json(exclude_defaults=True), created_at=render_timestamp(now),
    )  # fmt: skip


def add_question(agent_id: str, command: CommandMessage, now: datetime) -> None:
    """Add a question, unless it is there already; remove the expired ones."""
    _remove_expired(now)
    if Command.get_or_none(Command.command_id == command.command_id) is None:
        add_command(agent_id, command, now)


def _remove_expired(now: datetime) -> None:
    """Remove questions that nobody waits for any more, answered or not. Requests stay: they are the task's history."""
    is_old = Command.created_at <= render_timestamp(now - QUESTION_LIFE)
    is_read = Command.closed_at <= render_timestamp(now - _ANSWER_LIFE)
    is_list = Command.kind == "list_outputs"
    Command.delete().where(~_is_request(), is_old | (is_list & is_read)).execute()


def list_open(agent_id: str, now: datetime) -> list[CommandMessage]:
    """List the agent's open commands: all requests, then a few questions, fairly among the users who ask."""
    is_open = (Command.agent_id == agent_id) & Command.closed_at.is_null()
    is_alive = Command.created_at > render_timestamp(now - QUESTION_LIFE)
    rows = Command.select().where(is_open).order_by(Command.command_id)
    requests = list(rows.where(_is_request()).limit(_MAX_REQUESTS))
    questions = _take_turns(list(rows.where(~_is_request(), is_alive)))
    return [command for row in (*requests, *questions) if (command := read_command(row)) is not None]


def _take_turns(rows: list[Command]) -> list[Command]:
    """The first question of each owner, then the second of each, and so on, each owner's oldest first."""
    tasks = Task.select(Task.task_id, Task.owner).where(Task.task_id.in_(sorted({row.task_id for row in rows})))
    owners = {task.task_id: task.owner for task in tasks}
    asked: Counter[str | None] = Counter()
    turns: list[tuple[int, str, Command]] = []
    for row in rows:
        owner = owners.get(row.task_id)
        turns.append((asked[owner], row.command_id, row))
        asked[owner] += 1
    return [row for *_, row in sorted(turns, key=lambda turn: turn[:2])[:_MAX_QUESTIONS]]


def _is_request() -> peewee.Expression:
    return Command.kind.in_(sorted(_REQUESTS))


def find_question(agent: AgentIdentity, command_id: str) -> CommandMessage | None:
    """Find a question to this agent that bytes answer; None if it is closed.

    Raises NotFoundError, InvalidError (no_bytes_wanted).
    """
    row = _find_command(agent, command_id)
    if row.kind != "send_bytes":
        raise InvalidError(
            f"Command {command_id} ({row.kind}) does not ask for bytes.",
            key="no_bytes_wanted",
            next_step=f"Acknowledge it: POST {AGENT_ACK.format(command_id=command_id)}.",
        )
    return read_command(row) if row.closed_at is None else None


def _find_command(agent: AgentIdentity, command_id: str) -> Command:
    """The row of a command to this agent. Raises NotFoundError (command_not_found)."""
    row: Command | None = Command.get_or_none(Command.command_id == command_id, Command.agent_id == agent.agent_id)
    if row is None:
        raise NotFoundError(
            f"This agent has no command {command_id[:80]!r}.",
            key="command_not_found",
            next_step=f"List its open commands: GET {AGENT_COMMANDS}.",
            evidence={"command_id": command_id} if Command.get_or_none(Command.command_id == command_id) else None,
        )
    return row


def close_command(agent: AgentIdentity, command_id: str, ack: Ack, now: datetime) -> None:
    """Close a command with its agent's answer; a repetition is harmless.

    Raises NotFoundError (command_not_found), InvalidError (bytes_needed): only bytes answer a send_bytes.
    """
    row = _find_command(agent, command_id)
    if row.kind == "send_bytes" and ack.outcome != "refused":
        raise InvalidError(
            f"Command {command_id} asks for bytes of a file. An acknowledgement brings no bytes.",
            key="bytes_needed",
            next_step=(
                f"Send the bytes: PUT {AGENT_BYTES.format(command_id=command_id)}. Or acknowledge it as "
                "`refused`, with a message."
            ),
        )
    _close(row, ack, now)


def close_answered(agent: AgentIdentity, command_id: str, now: datetime) -> None:
    """Close a send_bytes whose bytes are stored; a repetition is harmless. Raises NotFoundError."""
    _close(_find_command(agent, command_id), Ack(outcome="done"), now)


def _close(row: Command, ack: Ack, now: datetime) -> None:
    if row.closed_at is not None:
        return
    row.closed_at, row.outcome, row.message = render_timestamp(now), ack.outcome, ack.message
    if row.kind != "list_outputs":
        ack = ack.model_copy(update={"outputs": None})
    row.answer = ack.model_dump_json(exclude_defaults=True)
    row.save()
    if ack.outcome == "refused" and row.kind in _REQUESTS:
        _take_back(row, now)


def _take_back(row: Command, now: datetime) -> None:
    """Forget a request that the agent refused: asking again makes a new command."""
    task: Task = Task.get_by_id(row.task_id)
    add_event(row.task_id, read_state(task.state), f"the agent did not {row.kind} it: {row.message}", now)
    if row.kind == "cancel":
        Task.update(cancel_requested=False).where(Task.task_id == row.task_id).execute()


def read_closed(command_id: str) -> Ack | None:
    """The acknowledgement of a command; None while it is open."""
    row: Command | None = Command.get_or_none(Command.command_id == command_id, ~Command.closed_at.is_null())
    return read_ack(row) if row is not None else None


def request_cancel(user: User, task_id: str, command_id: str, now: datetime) -> CancelAnswer:
    """Record the request, once. Raises NotFoundError, ConflictError (already_final)."""
    row, state = _find_active(user, task_id)
    if not row.cancel_requested:
        Task.update(cancel_requested=True, updated_at=render_timestamp(now)).where(Task.task_id == task_id).execute()
        add_event(task_id, state, f"{user.username} asked to cancel it", now)
        command = CommandMessage(command_id=command_id, kind="cancel", task_id=task_id, by=user.username)
        add_command(row.agent_id, command, now)
    return CancelAnswer(task_id=task_id, state=state, cancel_requested=True)


def request_hold(user: User, task_id: str, kind: HoldKind, command_id: str, now: datetime) -> HoldAnswer:
    """Record a hold or a release; a repetition makes no new command. Raises NotFoundError, ConflictError."""
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
    state = read_state(row.state)
    if is_final(state):
        raise ConflictError(
            f"Task {task_id} has already ended ({state}).",
            key="already_final",
            title="The task has ended",
            next_step="Read its outputs, or submit it again.",
            fields=[FieldProblem(field="state", given=str(state), allowed="a task that has not ended")],
        )
    return row, state
