"""What the reports of a task say together is kept: one more report costs the same, however many there are.

The rows are made when the next report of a task comes, from the reports that are stored.
"""

import peewee

atomic = True


def _build_tables(db):
    class Base(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class JoinedTask(Base):
        task_id = peewee.CharField(primary_key=True)
        body = peewee.TextField()
        reports = peewee.IntegerField()
        attempts = peewee.IntegerField()
        size = peewee.BigIntegerField()
        refused = peewee.IntegerField(index=True)

        class Meta:
            table_name = "joined_task"

    class JoinedAttempt(Base):
        task_id = peewee.CharField()
        attempt = peewee.BigIntegerField()
        body = peewee.TextField()

        class Meta:
            table_name = "joined_attempt"
            primary_key = peewee.CompositeKey("task_id", "attempt")

    return [JoinedTask, JoinedAttempt]


def up(_migrator, db):
    db.create_tables(_build_tables(db))


def down(_migrator, db):
    db.drop_tables(_build_tables(db))
