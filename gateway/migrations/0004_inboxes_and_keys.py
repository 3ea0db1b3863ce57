"""The folder that the gateway writes is an inbox, not the whole spool; the secret, and which agents have their key."""

import secrets

import peewee

atomic = True

_TABLES = ("agent", "enrol_code")


def up(migrator, db):
    migrator.migrate(*(migrator.rename_column(table, "spool", "inbox") for table in _TABLES))
    migrator.migrate(migrator.add_column("agent", "has_key", peewee.BooleanField(default=False)))
    for table in _TABLES:
        db.execute_sql(f"UPDATE {table} SET inbox = inbox || '/in' WHERE inbox IS NOT NULL")  # noqa: S608 - our names
    db.execute_sql("INSERT INTO meta (name, value) VALUES ('secret', ?)", (secrets.token_hex(32),))


def down(migrator, db):
    db.execute_sql("DELETE FROM meta WHERE name = 'secret'")
    for table in _TABLES:
        db.execute_sql(f"UPDATE {table} SET inbox = substr(inbox, 1, length(inbox) - 3) WHERE inbox LIKE '%/in'")  # noqa: S608 - our names
    migrator.migrate(migrator.drop_column("agent", "has_key"))
    migrator.migrate(*(migrator.rename_column(table, "inbox", "spool") for table in _TABLES))
