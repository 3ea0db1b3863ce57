"""The tables. Times are text in UTC with microseconds: they sort. JSON is canonical text."""

import threading
from datetime import UTC, datetime

import peewee

__all__ = [
    "DATABASE", "LISTED_COLUMNS", "MODELS", "Agent", "Attempt", "Base", "CachedBytes", "Command", "EnrolCode", "Event",
    "IdempotencyKey", "JoinedAttemptRow", "JoinedTaskRow", "Meta", "Outbox", "StoredReport", "Task", "TaskFile",
    "Token", "UserRow", "parse_timestamp", "render_timestamp",
]  # fmt: skip


_THREAD = threading.local()


class ThreadDatabase(peewee.DatabaseProxy):
    """The models use the database of the calling thread, so that one process can open several."""

    @property
    def obj(self) -> peewee.Database | None:
        """The database of this thread."""
        return getattr(_THREAD, "database", None)

    @obj.setter
    def obj(self, database: peewee.Database | None) -> None:
        _THREAD.database = database


DATABASE = ThreadDatabase()
# A row that somebody adds by hand belongs to nobody (store/ownership.py), not to everybody.
_OF_NOBODY: list[peewee.Node] = [peewee.SQL("DEFAULT 'nobody'")]


class Base(peewee.Model):
    """The root of the models."""

    class Meta:
        """Peewee's name for a model's options."""

        database = DATABASE
        legacy_table_names = False


class Meta(Base):
    """Facts about the database itself: its generation."""

    name = peewee.CharField(primary_key=True)
    value = peewee.TextField()


class UserRow(Base):
    """A user. Everything belongs to `user_id`, which no other user ever gets. `password_hash` (argon2) is secret."""

    username = peewee.CharField(primary_key=True)
    role = peewee.CharField()
    password_hash = peewee.TextField(null=True)
    created_at = peewee.CharField()
    user_id = peewee.CharField(unique=True, constraints=_OF_NOBODY)

    class Meta:
        """The singular is a reserved word of SQL."""

        table_name = "users"


class Token(Base):
    """A bearer token, as SHA-256."""

    token_id = peewee.CharField(primary_key=True)
    username = peewee.CharField()
    name = peewee.CharField()
    sha256 = peewee.CharField(unique=True)
    created_at = peewee.CharField()
    last_used_at = peewee.CharField(null=True)
    expires_at = peewee.CharField(null=True)
    revoked_at = peewee.CharField(null=True)
    user_id = peewee.CharField(index=True, constraints=_OF_NOBODY)


class EnrolCode(Base):
    """A one-time code, as SHA-256, and what the agent that uses it becomes."""

    sha256 = peewee.CharField(primary_key=True)
    cluster = peewee.CharField()
    owner = peewee.CharField(null=True)
    inbox = peewee.TextField(null=True)
    created_at = peewee.CharField()
    expires_at = peewee.CharField()
    used_at = peewee.CharField(null=True)
    owner_id = peewee.CharField(null=True)


class Agent(Base):
    """An agent: one row for each (cluster, owner, spool), for ever; a new enrolment changes its credential."""

    agent_id = peewee.CharField(primary_key=True)
    cluster = peewee.CharField(index=True)
    owner = peewee.CharField(null=True)
    inbox = peewee.TextField(null=True)
    spool_id = peewee.CharField(index=True)
    credential_sha256 = peewee.CharField(unique=True)
    host = peewee.CharField()
    unix_user = peewee.CharField()
    version = peewee.CharField()
    enrolled_at = peewee.CharField()
    revoked_at = peewee.CharField(null=True)
    seen_at = peewee.CharField(null=True)
    heartbeat = peewee.TextField(null=True)
    owner_id = peewee.CharField(null=True)
    revoked_reason = peewee.TextField(default="", constraints=[peewee.SQL("DEFAULT ''")])
    has_key = peewee.BooleanField(default=False)


class Task(Base):
    """A task. state, reason, note and taken are computed from its reports alone."""

    task_id = peewee.CharField(primary_key=True)
    owner = peewee.CharField()
    cluster = peewee.CharField()
    agent_id = peewee.CharField()
    state = peewee.CharField()
    reason = peewee.TextField(default="")
    note = peewee.TextField(default="{}")
    taken = peewee.BooleanField(default=False)
    cancel_requested = peewee.BooleanField(default=False)
    submitted_at = peewee.CharField()
    updated_at = peewee.CharField()
    source = peewee.CharField()
    script_name = peewee.CharField()
    config = peewee.TextField()
    summary = peewee.TextField()
    owner_id = peewee.CharField(constraints=_OF_NOBODY)

    class Meta:
        """A list reads one index backwards, however many tasks there are."""

        indexes = (
            (("owner_id", "task_id"), False),
            (("owner_id", "state", "task_id"), False),
            (("state", "task_id"), False),
        )


LISTED_COLUMNS = tuple(column for column in Task._meta.sorted_fields if column.name != "config")  # noqa: SLF001 - Peewee's way
"""What a list reads of a task: a config may have a mebibyte, and a list does not show it."""


class TaskFile(Base):
    """An uploaded file of a task, under the name it has in the bundle."""

    task_id = peewee.CharField()
    name = peewee.CharField()
    size = peewee.BigIntegerField()
    sha256 = peewee.CharField()

    class Meta:
        """A bundle has each name once."""

        primary_key = peewee.CompositeKey("task_id", "name")


class Attempt(Base):
    """What the reports say of one attempt."""

    task_id = peewee.CharField()
    attempt = peewee.IntegerField()
    job_id = peewee.CharField(null=True, index=True)
    body = peewee.TextField()

    class Meta:
        """One row for each attempt."""

        primary_key = peewee.CompositeKey("task_id", "attempt")


class StoredReport(Base):
    """A report of an agent, stored once, as it came."""

    spool_id = peewee.CharField()
    epoch = peewee.BigIntegerField()
    seq = peewee.BigIntegerField()
    sha256 = peewee.CharField()
    task_id = peewee.CharField(index=True)
    agent_id = peewee.CharField()
    received_at = peewee.CharField()
    body = peewee.TextField()

    class Meta:
        """The identity of a report: it never has two contents."""

        table_name = "report"
        primary_key = peewee.CompositeKey("spool_id", "epoch", "seq")


class JoinedTaskRow(Base):
    """What the reports of a task say together, and how many they are. Without a row it is computed from the reports."""

    task_id = peewee.CharField(primary_key=True)
    body = peewee.TextField()
    reports = peewee.IntegerField()
    attempts = peewee.IntegerField()
    size = peewee.BigIntegerField()
    refused = peewee.IntegerField(index=True)

    class Meta:
        """The value of the contract has the plain name."""

        table_name = "joined_task"


class JoinedAttemptRow(Base):
    """What the reports of one attempt say together, and how strong each part of it is."""

    task_id = peewee.CharField()
    attempt = peewee.BigIntegerField()
    body = peewee.TextField()

    class Meta:
        """One row for each attempt."""

        table_name = "joined_attempt"
        primary_key = peewee.CompositeKey("task_id", "attempt")


class Event(Base):
    """A line that the gateway itself adds to a task's history."""

    task_id = peewee.CharField(index=True)
    at = peewee.CharField()
    state = peewee.CharField()
    message = peewee.TextField()


class Outbox(Base):
    """What must still be done in a spool for a task: publish its bundle (waiting), or remove it (taken)."""

    task_id = peewee.CharField(primary_key=True)
    agent_id = peewee.CharField(index=True)
    step = peewee.CharField(index=True)
    created_at = peewee.CharField()


class IdempotencyKey(Base):
    """Which task an Idempotency-Key of a user made, and from what body."""

    owner = peewee.CharField()
    key = peewee.CharField()
    fingerprint = peewee.CharField()
    task_id = peewee.CharField()
    created_at = peewee.CharField()
    owner_id = peewee.CharField()

    class Meta:
        """Each user has keys of his own."""

        primary_key = peewee.CompositeKey("owner_id", "key")


class Command(Base):
    """A command to an agent; open until `closed_at`."""

    command_id = peewee.CharField(primary_key=True)
    agent_id = peewee.CharField()
    task_id = peewee.CharField(index=True)
    kind = peewee.CharField()
    body = peewee.TextField()
    created_at = peewee.CharField()
    closed_at = peewee.CharField(null=True)
    outcome = peewee.CharField(null=True)
    message = peewee.TextField(default="")
    answer = peewee.TextField(null=True)

    class Meta:
        """Every poll reads the open commands of an agent."""

        indexes = ((("agent_id", "closed_at"), False),)


class CachedBytes(Base):
    """A piece of a file on the cluster, in the cache folder. `asked` <= `start`: the bytes between no longer exist."""

    piece_id = peewee.CharField(primary_key=True)
    task_id = peewee.CharField()
    file = peewee.TextField()
    attempt = peewee.IntegerField()
    asked = peewee.BigIntegerField()
    start = peewee.BigIntegerField()
    length = peewee.BigIntegerField()
    size = peewee.BigIntegerField()
    final = peewee.BooleanField()
    kept_at = peewee.CharField(index=True)

    class Meta:
        """Pieces are looked up by their file."""

        indexes = ((("task_id", "file", "attempt"), False),)


MODELS = (
    Meta, UserRow, Token, EnrolCode, Agent, Task, TaskFile, Attempt, StoredReport, JoinedTaskRow, JoinedAttemptRow,
    Event, Outbox, IdempotencyKey, Command, CachedBytes,
)  # fmt: skip


def render_timestamp(time: datetime) -> str:
    """Render an aware time: text in UTC, always with microseconds, so that text order is time order."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def parse_timestamp(text: str) -> datetime:
    """Read it back."""
    return datetime.fromisoformat(text)
