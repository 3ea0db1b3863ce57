"""What must still be done in the spools: the outbox. A row goes through waiting, published, taken, and is gone."""

import json
from dataclasses import dataclass
from datetime import datetime

from gateway.store.models import Outbox, Task, TaskFile
from gateway.store.moments import parse_moment
from mltm.contract.ids import TaskId
from mltm.contract.manifest import BundleFile, Manifest

__all__ = ["Step", "count_waiting", "drop_row", "is_known", "list_steps", "mark_published"]


@dataclass(frozen=True)
class Step:
    """One thing to do in an agent's spool: publish the manifest's bundle, or (None) remove what was taken."""

    task_id: TaskId
    agent_id: str
    manifest: Manifest | None


def list_steps(gateway_name: str, limit: int) -> list[Step]:
    """What is to be done, oldest first, up to `limit` for each kind."""
    return [
        *(Step(TaskId(row.task_id), row.agent_id, None) for row in _rows("taken", limit)),
        *(
            Step(TaskId(row.task_id), row.agent_id, _manifest(row.task_id, gateway_name))
            for row in _rows("waiting", limit)
        ),
    ]


def _rows(step: str, limit: int) -> list[Outbox]:
    return list(Outbox.select().where(Outbox.step == step).order_by(Outbox.task_id).limit(limit))


def _manifest(task_id: str, gateway_name: str) -> Manifest:
    row = Task.get_by_id(task_id)
    files = TaskFile.select().where(TaskFile.task_id == task_id).order_by(TaskFile.name)
    return Manifest(
        task_id=task_id,
        owner=row.owner,
        cluster=row.cluster,
        gateway=gateway_name,
        submitted_at=parse_moment(row.submitted_at),
        script_name=row.script_name,
        config=json.loads(row.config),
        files=[BundleFile(name=file.name, size=file.size, sha256=file.sha256) for file in files],
    )


def mark_published(task_id: TaskId) -> None:
    """The bundle lies in `in/new`. A row that a report has moved on already stays where it is."""
    Outbox.update(step="published").where(Outbox.task_id == task_id, Outbox.step == "waiting").execute()


def drop_row(task_id: TaskId) -> None:
    """Nothing is left to do for this task."""
    Outbox.delete().where(Outbox.task_id == task_id).execute()


def count_waiting(before: datetime) -> int:
    """How many accepted tasks have not reached a spool though they came before this time."""
    return int(Outbox.select().where(Outbox.step == "waiting", Outbox.created_at < before.isoformat()).count())


def is_known(task_id: str) -> bool:
    """True where the gateway still needs the task's uploaded files."""
    return bool(Outbox.select().where(Outbox.task_id == task_id).exists())
