"""The first tables."""

import peewee

atomic = True


def up(_migrator, db):
    class Base(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class MetaRow(Base):
        name = peewee.CharField(primary_key=True)
        value = peewee.TextField()

        class Meta:
            table_name = "meta"

    class UserRow(Base):
        username = peewee.CharField(primary_key=True)
        role = peewee.CharField()
        password_hash = peewee.TextField(null=True)
        created_at = peewee.CharField()

        class Meta:
            table_name = "person"

    class Token(Base):
        token_id = peewee.CharField(primary_key=True)
        username = peewee.CharField(index=True)
        name = peewee.CharField()
        sha256 = peewee.CharField(unique=True)
        created_at = peewee.CharField()
        last_used_at = peewee.CharField(null=True)
        expires_at = peewee.CharField(null=True)
        revoked_at = peewee.CharField(null=True)

        class Meta:
            table_name = "token"

    class EnrolCode(Base):
        sha256 = peewee.CharField(primary_key=True)
        cluster = peewee.CharField()
        owner = peewee.CharField(null=True)
        spool = peewee.TextField(null=True)
        created_at = peewee.CharField()
        expires_at = peewee.CharField()
        used_at = peewee.CharField(null=True)

        class Meta:
            table_name = "enrol_code"

    class Agent(Base):
        agent_id = peewee.CharField(primary_key=True)
        cluster = peewee.CharField(index=True)
        owner = peewee.CharField(null=True)
        spool = peewee.TextField(null=True)
        spool_id = peewee.CharField(index=True)
        credential_sha256 = peewee.CharField(unique=True)
        host = peewee.CharField()
        unix_user = peewee.CharField()
        version = peewee.CharField()
        enrolled_at = peewee.CharField()
        revoked_at = peewee.CharField(null=True)
        seen_at = peewee.CharField(null=True)
        beat = peewee.TextField(null=True)

        class Meta:
            table_name = "agent"

    class Task(Base):
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
        card = peewee.TextField()

        class Meta:
            table_name = "task"
            indexes = (
                (("owner", "task_id"), False),
                (("owner", "state", "task_id"), False),
                (("state", "task_id"), False),
            )

    class TaskFile(Base):
        task_id = peewee.CharField()
        name = peewee.CharField()
        size = peewee.BigIntegerField()
        sha256 = peewee.CharField()

        class Meta:
            table_name = "task_file"
            primary_key = peewee.CompositeKey("task_id", "name")

    class Attempt(Base):
        task_id = peewee.CharField()
        attempt = peewee.IntegerField()
        job_id = peewee.CharField(index=True, null=True)
        body = peewee.TextField()

        class Meta:
            table_name = "attempt"
            primary_key = peewee.CompositeKey("task_id", "attempt")

    class StoredReport(Base):
        spool_id = peewee.CharField()
        epoch = peewee.BigIntegerField()
        seq = peewee.BigIntegerField()
        sha256 = peewee.CharField()
        task_id = peewee.CharField(index=True)
        agent_id = peewee.CharField()
        received_at = peewee.CharField()
        body = peewee.TextField()

        class Meta:
            table_name = "report"
            primary_key = peewee.CompositeKey("spool_id", "epoch", "seq")

    class Event(Base):
        id = peewee.AutoField(primary_key=True)
        task_id = peewee.CharField(index=True)
        at = peewee.CharField()
        state = peewee.CharField()
        words = peewee.TextField()

        class Meta:
            table_name = "event"

    class Outbox(Base):
        task_id = peewee.CharField(primary_key=True)
        agent_id = peewee.CharField(index=True)
        step = peewee.CharField(index=True)
        created_at = peewee.CharField()

        class Meta:
            table_name = "outbox"

    class IdempotencyKey(Base):
        owner = peewee.CharField()
        key = peewee.CharField()
        fingerprint = peewee.CharField()
        task_id = peewee.CharField()
        created_at = peewee.CharField()

        class Meta:
            table_name = "idempotency_key"
            primary_key = peewee.CompositeKey("owner", "key")

    class Command(Base):
        command_id = peewee.CharField(primary_key=True)
        agent_id = peewee.CharField()
        task_id = peewee.CharField(index=True)
        kind = peewee.CharField()
        body = peewee.TextField()
        created_at = peewee.CharField()
        closed_at = peewee.CharField(null=True)
        outcome = peewee.CharField(null=True)
        words = peewee.TextField(default="")
        answer = peewee.TextField(null=True)

        class Meta:
            table_name = "command"
            indexes = ((("agent_id", "closed_at"), False),)

    class CachedBytes(Base):
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
            table_name = "cached_bytes"
            indexes = ((("task_id", "file", "attempt"), False),)

    db.create_tables(
        [
            MetaRow,
            UserRow,
            Token,
            EnrolCode,
            Agent,
            Task,
            TaskFile,
            Attempt,
            StoredReport,
            Event,
            Outbox,
            IdempotencyKey,
            Command,
            CachedBytes,
        ]
    )
