"""Plain names: `message` for `words`, `summary` for `card`, `heartbeat` for `beat`, `users` for `person`."""

atomic = True

# table, column before, column after
_COLUMNS = (
    ("event", "words", "message"),
    ("command", "words", "message"),
    ("task", "card", "summary"),
    ("agent", "beat", "heartbeat"),
)


def up(migrator, _db):
    migrator.migrate(*(migrator.rename_column(table, before, after) for table, before, after in _COLUMNS))
    migrator.migrate(migrator.rename_table("person", "users"))


def down(migrator, _db):
    migrator.migrate(migrator.rename_table("users", "person"))
    migrator.migrate(*(migrator.rename_column(table, after, before) for table, before, after in _COLUMNS))
