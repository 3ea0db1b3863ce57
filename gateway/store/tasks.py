"""Tasks: adding the row, reading, listing. A user who may not see a task is told that it does not exist."""

import json
from dataclasses import dataclass
from datetime import datetime

import peewee

from gateway.errors import ConflictError, NotFoundError
from gateway.store.answers import (
    MAX_SHOWN_ATTEMPTS,
    MAX_SHOWN_REPORTS,
    build_answers,
    build_history,
    build_summary,
)
from gateway.store.damaged import read_config
from gateway.store.models import (
    LISTED_COLUMNS,
    Attempt,
    Event,
    IdempotencyKey,
    Outbox,
    StoredReport,
    Task,
    TaskFile,
    render_timestamp,
)
from gateway.store.ownership import find_owner_id, is_owned_by, may_see, require_live, visible_to
from gateway.values import AgentIdentity, User
from mltm.contract.base_models import render_canonical
from mltm.contract.ids import parse_task_id
from mltm.contract.manifest import Manifest
from mltm.contract.problems import FieldProblem
from mltm.contract.states import State
from mltm.contract.user_api import TaskAnswer, TaskList

__all__ = [
    "SubmissionKey", "add_event", "add_task", "find_agent_id", "find_by_job_id", "find_by_key", "find_owner",
    "find_task", "insert_row", "list_ids_with_files", "list_tasks", "read_task",
]  # fmt: skip


@dataclass(frozen=True)
class SubmissionKey:
    """An idempotency key of a user, with the fingerprint of the body that came with it."""

    user: User
    key: str
    fingerprint: str


def find_by_key(key: SubmissionKey) -> str | None:
    """The task that this key made. Raises ConflictError (idempotency_conflict) if its body was different."""
    row: IdempotencyKey | None = IdempotencyKey.get_or_none(
        is_owned_by(IdempotencyKey.owner_id, key.user.user_id), IdempotencyKey.key == key.key
    )
    if row is None:
        return None
    if row.fingerprint != key.fingerprint:
        raise ConflictError(
            f"Idempotency-Key {key.key!r} was used before, with another config or other files (task {row.task_id}).",
            key="idempotency_conflict",
            title="This key belongs to another submission",
            next_step="Use a new key for a new task, or send the same config and files again.",
        )
    return row.task_id


def add_task(user: User, manifest: Manifest, agent: AgentIdentity, key: SubmissionKey | None, now: datetime) -> str:
    """Add the task's row and its outbox row, or find the task of the key. Returns the id of the task that counts.

    Raises UnauthorizedError: the user may have been removed while his files came.
    """
    require_live(user)
    known = find_by_key(key) if key else None
    if known is not None:
        return known
    insert_row(manifest, agent, now, user.user_id)
    for file in manifest.files:
        TaskFile.create(task_id=manifest.task_id, name=file.name, size=file.size, sha256=file.sha256)
    at = render_timestamp(now)
    Outbox.create(task_id=manifest.task_id, agent_id=agent.agent_id, step="waiting", created_at=at)
    if key:
        IdempotencyKey.create(
            owner=key.user.username, owner_id=key.user.user_id, key=key.key, fingerprint=key.fingerprint,
            task_id=manifest.task_id, created_at=at,
        )  # fmt: skip
    return manifest.task_id


def insert_row(manifest: Manifest, agent: AgentIdentity, now: datetime, owner_id: str | None = None) -> Task:
    """Add a task's row in its first state, and the first line of its history.

    `owner_id` None: an agent reports it; agent and manifest say whose it is.
    """
    row: Task = Task.create(
        task_id=manifest.task_id,
        owner=manifest.owner,
        owner_id=owner_id or find_owner_id(agent, manifest.owner),
        cluster=manifest.cluster,
        agent_id=agent.agent_id,
        state=State.ACCEPTED.value,
        submitted_at=render_timestamp(manifest.submitted_at),
        updated_at=render_timestamp(now),
        source=manifest.source,
        script_name=manifest.script_name,
        config=render_canonical(manifest.config).decode(),
        summary=json.dumps(build_summary(manifest.config, manifest.cluster)),
    )
    message = "dropped on the cluster" if manifest.source == "drop" else ""
    add_event(manifest.task_id, State.ACCEPTED, message, manifest.submitted_at)
    return row


def add_event(task_id: str, state: State, message: str, now: datetime) -> None:
    """Add a line of the gateway to a task's history."""
    Event.create(task_id=task_id, at=render_timestamp(now), state=state.value, message=message)


def find_task(user: User, task_id: str) -> Task:
    """The row, if this user may see it. Raises NotFoundError (task_not_found)."""
    row: Task | None = Task.get_or_none(Task.task_id == task_id)
    if row is None or not may_see(user, row):
        allowed = FieldProblem(field="task_id", given=task_id[:80], allowed="the id of one of your tasks")
        evidence = {"task_id": task_id, "of_user_id": row.owner_id} if row else None
        raise NotFoundError(f"You have no task {task_id[:80]!r}.", fields=[allowed], evidence=evidence)
    return row


def find_owner(text: str) -> dict[str, str]:
    """Whose the task of this id, or of this job id, is: for the security log. Empty if there is none."""
    try:
        row: Task | None = Task.get_or_none(Task.task_id == parse_task_id(text))
    except ValueError:
        row = _query_job_id(text).first() if text.isascii() else None
    return {"task_id": row.task_id, "of_user": row.owner, "of_user_id": row.owner_id} if row else {}


def _query_job_id(job_id: str) -> "peewee.ModelSelect[Task]":
    query = Task.select().join(Attempt, on=(Attempt.task_id == Task.task_id))
    return query.where(Attempt.job_id == job_id).order_by(Task.task_id.desc())


def find_agent_id(user: User, task_id: str) -> str:
    """The agent of a task that this user may see. Raises NotFoundError (task_not_found)."""
    return str(find_task(user, task_id).agent_id)


def read_task(user: User, task_id: str, now: datetime) -> TaskAnswer:
    """One task with its history and config. Raises NotFoundError."""
    row = find_task(user, task_id)
    (answer,) = build_answers([row], now, max_attempts=MAX_SHOWN_ATTEMPTS)
    newest = StoredReport.select().where(StoredReport.task_id == task_id)
    history = build_history(
        Event.select().where(Event.task_id == task_id).order_by(Event.at),
        newest.order_by(StoredReport.epoch.desc(), StoredReport.seq.desc()).limit(MAX_SHOWN_REPORTS),
    )
    return answer.model_copy(update={"history": history, "config": read_config(row)})


def list_tasks(user: User, state: State | None, before: str | None, limit: int, now: datetime) -> TaskList:
    """A page, newest first. Ids sort by time, so a page reads one index backwards from `before`."""
    query = Task.select(*LISTED_COLUMNS).where(visible_to(user)).order_by(Task.task_id.desc()).limit(limit + 1)
    if state is not None:
        query = query.where(Task.state == state.value)
    if before is not None:
        query = query.where(Task.task_id < before)
    rows = list(query)
    more = rows[limit - 1].task_id if len(rows) > limit else None
    return TaskList(tasks=build_answers(rows[:limit], now), next=more)


def find_by_job_id(user: User, job_id: str, now: datetime) -> TaskAnswer:
    """The newest task of this user with an attempt of this job id (Slurm reuses ids). Raises NotFoundError."""
    row: Task | None = _query_job_id(job_id).where(visible_to(user)).first()
    if row is None:
        allowed = FieldProblem(
            field="job_id", given=job_id[:80], allowed="the job id or the task id of one of your tasks"
        )
        evidence = {"job_id": job_id} if _query_job_id(job_id).exists() else None
        raise NotFoundError(
            f"You have no task with the Slurm job id {job_id[:80]!r}.", fields=[allowed], evidence=evidence
        )
    return read_task(user, row.task_id, now)


def list_ids_with_files() -> list[str]:
    """The tasks whose files are still needed: something is left to do for them in a spool."""
    return [row.task_id for row in Outbox.select(Outbox.task_id)]
