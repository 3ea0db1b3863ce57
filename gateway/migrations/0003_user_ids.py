"""Every user has an id of his own, for ever. Tasks, agents, codes, tokens and keys belong to the id, not to the name.

Rows get the id of the user who has their name now. A name without a user gets an id that nobody has. Such a name's
agents are revoked and its unused codes removed: `user remove` did not do that before.
"""

import datetime as dt
import secrets

import peewee

atomic = True

_REASON = "its owner was removed"
# table, column with a name, new column with an id
_OWNED = (
    ("users", "username", "user_id"),
    ("token", "username", "user_id"),
    ("enrol_code", "owner", "owner_id"),
    ("agent", "owner", "owner_id"),
    ("task", "owner", "owner_id"),
)
_INDEXES = (
    ("users", ("user_id",), True),
    ("token", ("user_id",), False),
    ("task", ("owner_id", "task_id"), False),
    ("task", ("owner_id", "state", "task_id"), False),
)
_OLD_INDEXES = (("token", ("username",)), ("task", ("owner", "task_id")), ("task", ("owner", "state", "task_id")))


def up(migrator, db):
    ids = _make_ids(db)
    for table, column, new in _OWNED:
        kind = "" if table in ("agent", "enrol_code") else " NOT NULL DEFAULT 'nobody'"
        db.execute_sql(f'ALTER TABLE "{table}" ADD COLUMN "{new}" VARCHAR(255){kind}')
        for name, user_id in ids.items():
            query = f'UPDATE "{table}" SET "{new}" = ? WHERE "{column}" = ?'  # noqa: S608 - from above
            db.execute_sql(query, (user_id, name))
    db.execute_sql('ALTER TABLE "agent" ADD COLUMN "revoked_reason" TEXT NOT NULL DEFAULT \'\'')
    _end_what_is_nobodys(db)
    migrator.migrate(*(migrator.drop_index(table, "_".join((table, *columns))) for table, columns in _OLD_INDEXES))
    migrator.migrate(*(migrator.add_index(*index) for index in _INDEXES))
    _rebuild_keys(db, _keys(db, with_ids=True), ids)


def down(migrator, db):
    _rebuild_keys(db, _keys(db, with_ids=False), {})
    migrator.migrate(*(migrator.drop_index(table, "_".join((table, *columns))) for table, columns, _ in _INDEXES))
    migrator.migrate(*(migrator.add_index(table, columns) for table, columns in _OLD_INDEXES))
    db.execute_sql('ALTER TABLE "agent" DROP COLUMN "revoked_reason"')
    for table, _, new in _OWNED:
        db.execute_sql(f'ALTER TABLE "{table}" DROP COLUMN "{new}"')


def _make_ids(db):
    tables = (*((table, column) for table, column, _ in _OWNED), ("idempotency_key", "owner"))
    union = " UNION ".join(f'SELECT "{column}" FROM "{table}"' for table, column in tables)  # noqa: S608 - from above
    return {name: secrets.token_hex(16) for (name,) in db.execute_sql(union).fetchall() if name is not None}


def _end_what_is_nobodys(db):
    is_gone = "owner IS NOT NULL AND owner NOT IN (SELECT username FROM users)"
    now = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")
    query = f"UPDATE agent SET revoked_at = ?, revoked_reason = ? WHERE revoked_at IS NULL AND {is_gone}"  # noqa: S608
    db.execute_sql(query, (now, _REASON))
    db.execute_sql(f"DELETE FROM enrol_code WHERE used_at IS NULL AND {is_gone}")  # noqa: S608 - from above


def _keys(db, *, with_ids):
    class IdempotencyKey(peewee.Model):
        owner = peewee.CharField()
        key = peewee.CharField()
        fingerprint = peewee.CharField()
        task_id = peewee.CharField()
        created_at = peewee.CharField()
        if with_ids:
            owner_id = peewee.CharField()

        class Meta:
            database = db
            table_name = "idempotency_key"
            primary_key = peewee.CompositeKey("owner_id" if with_ids else "owner", "key")

    return IdempotencyKey


def _rebuild_keys(db, model, ids):
    """SQLite cannot change a primary key: the table is made again. Two users of one name: the newer key stays."""
    rows = db.execute_sql(
        'SELECT "owner", "key", "fingerprint", "task_id", "created_at" FROM "idempotency_key" ORDER BY "created_at"'
    ).fetchall()
    db.execute_sql('DROP TABLE "idempotency_key"')
    db.create_tables([model])
    names = ["owner", "key", "fingerprint", "task_id", "created_at", *(["owner_id"] if ids else [])]
    for row in rows:
        values = (*row, ids[row[0]]) if ids else row
        model.insert(dict(zip(names, values, strict=True))).on_conflict_replace().execute()
