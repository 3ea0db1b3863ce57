"""What must still be done in the spools: publish a bundle, or remove one that its agent has taken."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from gateway.store.keys import add_seal, read_spool_key
from gateway.store.models import Agent, Outbox, Task, TaskFile
from gateway.store.timestamps import parse_timestamp
from mltm.contract.manifest import BundleFile, Manifest

__all__ = ["OutboxEntry", "count_waiting", "list_due", "list_published", "mark"]


@dataclass(frozen=True)
class OutboxEntry:
    """One row: the bundle of a task, and its agent's inbox (None: the gateway does not share it)."""

    task_id: str
    step: str
    inbox: Path | None
    manifest: Manifest
    spool_id: str
    key: bytes = field(repr=False)


def list_due(gateway_name: str, limit: int = 100) -> list[OutboxEntry]:
    """List each agent's oldest entries with something to do, up to `limit` of each: no spool waits for another one."""
    is_due = Outbox.step.in_(("waiting", "taken"))
    agents = [row.agent_id for row in Outbox.select(Outbox.agent_id).where(is_due).distinct()]
    found: list[Outbox] = []
    for agent_id in agents:
        mine = Outbox.select().where(is_due, Outbox.agent_id == agent_id)
        found.extend(mine.order_by(Outbox.task_id).limit(limit))
    return [_build(row, gateway_name) for row in found]


def list_published(gateway_name: str) -> list[OutboxEntry]:
    """List the entries whose bundles lie in the spools and were not taken yet."""
    rows = Outbox.select().where(Outbox.step == "published").order_by(Outbox.task_id)
    return [_build(row, gateway_name) for row in rows]


def _build(row: Outbox, gateway_name: str) -> OutboxEntry:
    task: Task = Task.get_by_id(row.task_id)
    agent: Agent = Agent.get_by_id(row.agent_id)
    files = TaskFile.select().where(TaskFile.task_id == row.task_id).order_by(TaskFile.name)
    manifest = Manifest(
        task_id=task.task_id,
        owner=task.owner,
        cluster=task.cluster,
        gateway=gateway_name,
        submitted_at=parse_timestamp(task.submitted_at),
        script_name=task.script_name,
        config=json.loads(task.config),
        files=[BundleFile(name=f.name, size=f.size, sha256=f.sha256) for f in files],
    )
    inbox = Path(agent.inbox) if agent.inbox else None
    sealed = add_seal(manifest, agent.spool_id)
    return OutboxEntry(row.task_id, row.step, inbox, sealed, agent.spool_id, read_spool_key(agent))


def mark(task_id: str, before: str, after: str | None) -> None:
    """Move an entry from step `before` to `after`; None: nothing is left to do."""
    mine = (Outbox.task_id == task_id) & (Outbox.step == before)
    if after is None:
        Outbox.delete().where(mine).execute()
    else:
        Outbox.update(step=after).where(mine).execute()


def count_waiting() -> int:
    """Count the bundles that wait to be published."""
    return int(Outbox.select().where(Outbox.step == "waiting").count())
