"""Commands to agents: open until they are acknowledged, and repeated at every poll."""

from datetime import datetime, timedelta

from gateway.errors import ConflictError, NotFoundError
from gateway.store.models import Command, Task
from gateway.store.moments import render_moment
from gateway.store.tasks import add_event, find_task
from gateway.values import AgentIdentity, User
from mltm.contract.agent_api import Ack, CommandMessage
from mltm.contract.ids import TaskId
from mltm.contract.states import State, is_final
from mltm.contract.user_api import CancelAnswer

__all__ = [
    "add_command", "close_command", "find_ack", "find_command", "find_open", "list_open", "request_cancel",
]  # fmt: skip

_RELAYED = ("send_bytes", "list_outputs")
_RELAY_LIFE = timedelta(minutes=10)  # nobody waits for bytes longer; an agent that was away is not flooded with them


def add_command(message: CommandMessage, agent_id: str, now: datetime) -> None:
    """Keep a new command."""
    Command.create(
        command_id=message.command_id,
        agent_id=agent_id,
        task_id=message.task_id,
        kind=message.kind,
        body=message.model_dump_json(),
        created_at=render_moment(now),
    )


def request_cancel(user: User, task_id: str, command_id: TaskId, now: datetime) -> tuple[CancelAnswer, str]:
    """Record the wish to cancel, once; returns the answer and the agent. Raises NotFoundError, ConflictError."""
    row = find_task(user, task_id)
    state = State(row.state)
    if is_final(state):
        raise ConflictError(
            f"Task {task_id} has ended already: {state}.",
            key="already_final",
            title="It has ended already",
            next_step="Nothing is left to cancel; GET /v1/tasks/{task_id} shows how it ended.",
        )
    waiting = Command.select().where(Command.task_id == task_id, Command.kind == "cancel", Command.closed_at.is_null())
    if not waiting.exists():
        message = CommandMessage(command_id=command_id, kind="cancel", task_id=task_id, by=user.username)
        add_command(message, row.agent_id, now)
    if not row.cancel_requested:
        Task.update(cancel_requested=True, updated_at=render_moment(now)).where(Task.task_id == task_id).execute()
        add_event(task_id, state, f"cancel asked for by {user.username}", now)
    return CancelAnswer(task_id=task_id, state=state, cancel_requested=True), row.agent_id


def list_open(agent_id: str, now: datetime) -> list[CommandMessage]:
    """The agent's open commands, oldest first; requests for bytes that nobody waits for any more are left out."""
    oldest = render_moment(now - _RELAY_LIFE)
    query = Command.select().where(
        Command.agent_id == agent_id,
        Command.closed_at.is_null(),
        Command.kind.not_in(_RELAYED) | (Command.created_at > oldest),
    )
    return [CommandMessage.model_validate_json(row.body) for row in query.order_by(Command.command_id).limit(100)]


def find_open(agent_id: str, wanted: CommandMessage, now: datetime) -> str | None:
    """An open command that asks for the very same thing."""
    for message in list_open(agent_id, now):
        if message.model_copy(update={"command_id": wanted.command_id, "by": wanted.by}) == wanted:
            return message.command_id
    return None


def find_command(agent: AgentIdentity, command_id: str) -> CommandMessage:
    """A command of this agent, open or closed. Raises NotFoundError (command_not_found)."""
    row: Command | None = Command.get_or_none(Command.command_id == command_id, Command.agent_id == agent.agent_id)
    if row is None:
        raise NotFoundError(
            f"There is no command {command_id[:80]!r} for this agent.",
            key="command_not_found",
            next_step="Poll again: GET /v1/agent/commands lists what is open.",
        )
    return CommandMessage.model_validate_json(row.body)


def close_command(agent: AgentIdentity, command_id: str, ack: Ack, now: datetime) -> CommandMessage:
    """Close a command with its answer; the first answer stays. Raises NotFoundError."""
    message = find_command(agent, command_id)
    closed = Command.update(
        closed_at=render_moment(now), outcome=ack.outcome, words=ack.words, answer=ack.model_dump_json()
    ).where(Command.command_id == command_id, Command.closed_at.is_null())
    if closed.execute() and message.kind == "cancel" and ack.outcome == "refused":
        row = Task.get_by_id(message.task_id)
        add_event(message.task_id, State(row.state), f"cancel refused by the agent: {ack.words}", now)
    return message


def find_ack(command_id: str) -> Ack | None:
    """The answer of a closed command; None while it is open."""
    row = Command.get_by_id(command_id)
    return Ack.model_validate_json(row.answer) if row.answer else None
