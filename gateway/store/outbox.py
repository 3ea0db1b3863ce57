"""What must still be done in the spools: publish a bundle, or remove one that its agent has taken."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import peewee
import structlog

from gateway.store.keys import add_seal, read_spool_key
from gateway.store.models import Agent, Event, Outbox, Task, TaskFile, parse_timestamp
from gateway.store.tasks import add_event
from mltm.contract.manifest import BundleFile, Manifest
from mltm.contract.states import State

__all__ = [
    "OutboxEntry", "count_waiting", "list_damaged", "list_due", "list_published", "mark", "set_aside",
    "try_damaged_again",
]  # fmt: skip

_DAMAGED = "damaged"
_MESSAGE = (
    "The gateway cannot send this task to its cluster: its entry in the gateway's database is damaged. Tell the "
    "administrator, and submit the task again."
)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class OutboxEntry:
    """One row: the bundle of a task, and its agent's inbox (None: the gateway does not share it)."""

    task_id: str
    step: str
    inbox: Path | None
    manifest: Manifest
    spool_id: str
    key: bytes = field(repr=False)


def list_due(gateway_name: str, limit: int = 100) -> tuple[list[OutboxEntry], list[str]]:
    """List each agent's oldest entries with something to do, up to `limit` of each: no spool waits for another one.

    The second list: tasks whose rows are damaged, so that no bundle can be made of them.
    """
    is_due = Outbox.step.in_(("waiting", "taken"))
    agents = [row.agent_id for row in Outbox.select(Outbox.agent_id).where(is_due).distinct()]
    found: list[Outbox] = []
    for agent_id in agents:
        mine = Outbox.select().where(is_due, Outbox.agent_id == agent_id)
        found.extend(mine.order_by(Outbox.task_id).limit(limit))
    return _build_all(found, gateway_name)


def list_published(gateway_name: str) -> list[OutboxEntry]:
    """List the entries whose bundles lie in the spools and were not taken yet, without damaged ones."""
    rows = Outbox.select().where(Outbox.step == "published").order_by(Outbox.task_id)
    return _build_all(rows, gateway_name)[0]


def _build_all(rows: Iterable[Outbox], gateway_name: str) -> tuple[list[OutboxEntry], list[str]]:
    entries: list[OutboxEntry] = []
    damaged: list[str] = []
    for row in rows:
        try:
            entries.append(_build(row, gateway_name))
        except (ValueError, TypeError, RecursionError, peewee.DoesNotExist) as error:
            _log.error("row_damaged", what="bundle", task_id=row.task_id, error=type(error).__name__)
            damaged.append(row.task_id)
    return entries, damaged


def _build(row: Outbox, gateway_name: str) -> OutboxEntry:
    task: Task = Task.get_by_id(row.task_id)
    agent: Agent = Agent.get_by_id(row.agent_id)
    files = TaskFile.select().where(TaskFile.task_id == row.task_id).order_by(TaskFile.name)
    manifest = Manifest(
        task_id=task.task_id,
        owner=task.owner,
        owner_id=task.owner_id,
        cluster=task.cluster,
        gateway=gateway_name,
        submitted_at=parse_timestamp(task.submitted_at),
        script_name=task.script_name,
        config=json.loads(task.config) if row.step != "taken" else {},  # to remove a bundle nobody needs its config
        files=[BundleFile(name=f.name, size=f.size, sha256=f.sha256) for f in files],
    )
    inbox = Path(agent.inbox) if agent.inbox else None
    sealed = add_seal(manifest, agent.spool_id)
    return OutboxEntry(row.task_id, row.step, inbox, sealed, agent.spool_id, read_spool_key(agent))


def set_aside(task_id: str, now: datetime) -> None:
    """Take an entry whose bundle cannot be made out of the way of the others, and say so in the task's history."""
    if Outbox.update(step=_DAMAGED).where(Outbox.task_id == task_id).execute():
        known = Event.get_or_none(Event.task_id == task_id, Event.message == _MESSAGE)
        if known is None:
            add_event(task_id, State.ACCEPTED, _MESSAGE, now)


def try_damaged_again() -> None:
    """Make entries that were set aside due again: their rows may have been repaired."""
    Outbox.update(step="waiting").where(Outbox.step == _DAMAGED).execute()


def list_damaged() -> list[str]:
    """The tasks that are set aside."""
    return [row.task_id for row in Outbox.select(Outbox.task_id).where(Outbox.step == _DAMAGED)]


def mark(task_id: str, before: str, after: str | None, inbox: Path | None = None) -> None:
    """Move an entry from step `before` to `after`; None: nothing is left to do.

    inbox: where the step was carried out. If the agent has another one now, the step stays due.
    """
    mine = (Outbox.task_id == task_id) & (Outbox.step == before)
    if inbox is not None:
        there = Agent.select(Agent.agent_id).where(Agent.inbox == str(inbox))
        mine &= Outbox.agent_id.in_(there)
    if after is None:
        Outbox.delete().where(mine).execute()
    else:
        Outbox.update(step=after).where(mine).execute()


def count_waiting() -> int:
    """Count the bundles that wait to be published."""
    return int(Outbox.select().where(Outbox.step == "waiting").count())
