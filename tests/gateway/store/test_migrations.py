"""The migrations, run on an empty file, give the tables that the models describe; an old file is refused in words."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peewee
import pytest
from playhouse.migrations import Runner

from gateway.app import open_database
from gateway.errors import UnavailableError
from gateway.settings import GatewaySettings
from gateway.store import migrate, models
from gateway.store.database import Database
from gateway.store.models import DATABASE


def read_schema(db: Any) -> dict[str, Any]:
    """Everything that SQLite knows of our tables: columns, keys, indexes, and the text they were made from."""
    tables = [name for name in db.get_tables() if name not in ("sqlite_sequence", "schema_migration")]
    return {
        table: {
            "columns": db.execute_sql(f'pragma table_info("{table}")').fetchall(),
            "indexes": sorted(
                (index.name, tuple(index.columns), index.unique, index.sql) for index in db.get_indexes(table)
            ),
            "sql": db.execute_sql("select sql from sqlite_master where name = ?", (table,)).fetchone(),
        }
        for table in sorted(tables)
    }


def create_all(db: peewee.SqliteDatabase) -> None:
    DATABASE.initialize(db)
    db.create_tables([model for model in vars(models).values() if is_table(model)])


def is_table(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, models.Base) and value is not models.Base


def test_the_migrations_give_what_the_models_describe(tmp_path: Path) -> None:
    migrated, made = Database(tmp_path / "migrated.sqlite"), Database(tmp_path / "made.sqlite")
    migrate.migrate(migrated)
    made.run_now(create_all)
    schemas = [migrated.run_now(read_schema), made.run_now(read_schema)]
    known = [name for name in schemas[0] if name in schemas[1]]
    migrated.close()
    made.close()

    assert known == sorted(schemas[1])
    assert len(known) >= 14
    assert {name: schemas[0][name] for name in known} == schemas[1]


def test_migrating_twice_changes_nothing_and_keeps_the_generation(tmp_path: Path) -> None:
    database = Database(tmp_path / "g.sqlite")
    first = migrate.migrate(database)
    generation = database.call_now(migrate.read_generation)

    assert (len(first) >= 1, migrate.migrate(database)) == (True, [])
    assert database.call_now(migrate.read_generation) == generation
    assert migrate.renew_generation(database) != generation
    database.close()


def test_a_gateways_id_is_made_once_and_outlives_the_generation(tmp_path: Path) -> None:
    ids = []
    for _ in range(2):
        database = open_database(GatewaySettings(data_dir=tmp_path / "one"))
        ids.append(database.call_now(migrate.read_gateway_id))
        migrate.renew_generation(database)
        ids.append(database.call_now(migrate.read_gateway_id))
        database.close()
    other = open_database(GatewaySettings(data_dir=tmp_path / "two"))
    ids.append(other.call_now(migrate.read_gateway_id))
    other.close()

    assert ids[0] == ids[1] == ids[2] == ids[3] != ids[4]
    assert all(len(one) == 32 for one in ids)


def test_a_file_that_lacks_a_migration_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = GatewaySettings(data_dir=tmp_path)
    open_database(settings).close()
    later = tmp_path / "migrations"
    later.mkdir()
    for file in migrate.FOLDER.glob("*.py"):
        (later / file.name).write_bytes(file.read_bytes())
    (later / "9999_later.py").write_text("def up(_migrator, _db):\n    pass\n")
    monkeypatch.setattr(migrate, "FOLDER", later)

    with pytest.raises(UnavailableError, match="9999_later has not been run") as raised:
        open_database(settings)
    assert "mltm-gateway migrate" in raised.value.next_step


_OLD_ROWS: dict[str, dict[str, object]] = {
    "person": {"username": "ada", "role": "admin", "created_at": "2026"},
    "event": {"task_id": "t", "at": "2026", "state": "accepted", "words": "dropped on the cluster"},
    "command": {
        "command_id": "c", "agent_id": "a", "task_id": "t", "kind": "cancel", "body": "{}", "created_at": "2026",
        "words": "the disk is full",
    },
    "task": {
        "task_id": "t", "owner": "ada", "cluster": "c", "agent_id": "a", "state": "accepted", "reason": "",
        "note": "{}", "taken": 0, "cancel_requested": 0, "submitted_at": "2026", "updated_at": "2026",
        "source": "upload", "script_name": "s.py", "config": "{}", "card": '{"x": 1}',
    },
    "agent": {
        "agent_id": "a", "cluster": "c", "spool_id": "s", "credential_sha256": "x", "host": "h", "unix_user": "u",
        "version": "1", "enrolled_at": "2026", "beat": '{"pid": 1}',
    },
}  # fmt: skip


def add_old_rows(db: Any) -> None:
    Runner(db, str(migrate.FOLDER)).up("0001_first")
    for table, row in _OLD_ROWS.items():
        places = ", ".join("?" * len(row))
        db.execute_sql(f"insert into {table} ({', '.join(row)}) values ({places})", tuple(row.values()))  # noqa: S608


def ask(db: Any, sql: str) -> list[tuple[Any, ...]]:
    return list(db.execute_sql(sql).fetchall())


def read_rows(db: Any) -> dict[str, list[tuple[Any, ...]]]:
    tables = [name for name in db.get_tables() if name not in ("schema_migration", "meta")]
    rows = {name: db.execute_sql(f'select * from "{name}"').fetchall() for name in tables}  # noqa: S608
    return {name: found for name, found in rows.items() if found}


_RENAMED = (
    ("users", "role"), ("event", "message"), ("command", "message"), ("task", "summary"), ("agent", "heartbeat"),
)  # fmt: skip


def test_the_rows_of_an_old_database_stay_under_the_new_names_and_come_back_under_the_old(tmp_path: Path) -> None:
    database = Database(tmp_path / "old.sqlite")
    database.run_now(add_old_rows)
    before, old_schema = database.run_now(read_rows), database.run_now(read_schema)

    database.run_now(lambda db: Runner(db, str(migrate.FOLDER)).up("0002_plain_names"))
    after = database.run_now(read_rows)
    shown = database.run_now(
        lambda db: tuple(ask(db, f"select {column} from {table}")[0][0] for table, column in _RENAMED)  # noqa: S608
    )
    database.run_now(lambda db: Runner(db, str(migrate.FOLDER)).down("0002_plain_names"))
    again, schema = database.run_now(read_rows), database.run_now(read_schema)
    database.close()

    assert shown == ("admin", "dropped on the cluster", "the disk is full", '{"x": 1}', '{"pid": 1}')
    assert {**after, "person": after["users"]} == {**before, "users": after["users"]}
    assert (again, schema == {**old_schema, "meta": schema["meta"]}) == (before, True)


def test_an_old_spool_becomes_the_inbox_in_it_and_back(tmp_path: Path) -> None:
    database = Database(tmp_path / "old.sqlite")
    database.run_now(add_old_rows)
    database.run_now(lambda db: ask(db, "update agent set spool = '/shared/ada'"))
    database.run_now(lambda db: Runner(db, str(migrate.FOLDER)).up("0004_inboxes_and_keys"))
    moved = database.run_now(lambda db: ask(db, "select inbox, has_key from agent"))
    secrets = database.run_now(lambda db: ask(db, "select value from meta where name = 'secret'"))
    database.run_now(lambda db: Runner(db, str(migrate.FOLDER)).down("0003_user_ids"))
    back = database.run_now(lambda db: ask(db, "select spool from agent"))
    database.close()

    assert (moved, back) == ([("/shared/ada/in", 0)], [("/shared/ada",)])
    assert [len(bytes.fromhex(value)) for (value,) in secrets] == [32]


def build_owned_rows() -> Iterator[tuple[str, dict[str, object]]]:
    """Rows of two users, of a name without a user, and of nobody in particular."""
    for name in ("ada", "bob"):
        yield "users", {"username": name, "role": "user", "created_at": "2026"}
    for name in ("ada", "bob", "gone"):
        yield "token", {"token_id": name, "username": name, "name": "t", "sha256": name, "created_at": "2026"}
        yield "task", {**_OLD_ROWS["task"], "task_id": name, "owner": name}
    for name in ("ada", "gone"):
        yield "idempotency_key", {"owner": name, "key": "k", "fingerprint": "f", "task_id": name, "created_at": "2026"}
    for owner in ("ada", "gone", None):
        yield (
            "agent",
            {**_OLD_ROWS["agent"], "agent_id": f"of {owner}", "owner": owner, "credential_sha256": str(owner)},
        )
        code = {"cluster": "c", "owner": owner, "created_at": "2026", "expires_at": "2027"}
        yield "enrol_code", {**code, "sha256": f"unused {owner}"}
        yield "enrol_code", {**code, "sha256": f"used {owner}", "used_at": "2026"}


_NEW_NAMES = {"card": "summary", "beat": "heartbeat"}


def add_owned_rows(db: Any) -> None:
    Runner(db, str(migrate.FOLDER)).up("0002_plain_names")
    for table, row in build_owned_rows():
        named = {_NEW_NAMES.get(name, name): value for name, value in row.items()}
        places = ", ".join("?" * len(named))
        db.execute_sql(f"insert into {table} ({', '.join(named)}) values ({places})", tuple(named.values()))  # noqa: S608


Owners = dict[str | None, set[str | None]]


def read_owners(db: Any, table: str, name: str, user_id: str) -> Owners:
    """Which ids the rows of each name have."""
    found: Owners = {}
    for key, value in db.execute_sql(f"select {name}, {user_id} from {table}").fetchall():  # noqa: S608
        found.setdefault(key, set()).add(value)
    return found


def test_the_rows_of_a_name_get_its_users_id_and_those_of_no_user_an_id_of_nobody(tmp_path: Path) -> None:
    database = Database(tmp_path / "old.sqlite")
    database.run_now(add_owned_rows)
    migrate.migrate(database)

    ids = database.run_now(lambda db: read_owners(db, "users", "username", "user_id"))
    ((ada,), (bob,)) = ids["ada"], ids["bob"]
    tables = ("task", "agent", "enrol_code", "idempotency_key")
    owners = database.run_now(lambda db: {table: read_owners(db, table, "owner", "owner_id") for table in tables})
    owners["token"] = database.run_now(lambda db: read_owners(db, "token", "username", "user_id"))
    (gone,) = owners["task"]["gone"]
    database.close()

    assert len({ada, bob, gone}) == 3
    assert all(one is not None and len(one) == 32 for one in (ada, bob, gone))
    assert owners == {
        "task": {"ada": {ada}, "bob": {bob}, "gone": {gone}},
        "agent": {"ada": {ada}, "gone": {gone}, None: {None}},
        "enrol_code": {"ada": {ada}, "gone": {gone}, None: {None}},
        "idempotency_key": {"ada": {ada}, "gone": {gone}},
        "token": {"ada": {ada}, "bob": {bob}, "gone": {gone}},
    }


def test_the_agents_and_codes_of_a_user_who_was_removed_before_end_with_the_migration(tmp_path: Path) -> None:
    database = Database(tmp_path / "old.sqlite")
    database.run_now(add_owned_rows)
    migrate.migrate(database)
    live = database.call_now(lambda: {a.owner for a in models.Agent.select().where(models.Agent.revoked_at.is_null())})
    reason = database.call_now(lambda: models.Agent.get_by_id("of gone").revoked_reason)
    unused = database.call_now(
        lambda: {code.owner for code in models.EnrolCode.select().where(models.EnrolCode.used_at.is_null())}
    )
    database.close()

    assert (live, unused) == ({"ada", None}, {"ada", None})
    assert reason == "its owner was removed"


def test_two_users_of_one_name_with_one_key_come_back_as_the_newer_one(tmp_path: Path) -> None:
    database = Database(tmp_path / "new.sqlite")
    migrate.migrate(database)

    def add(owner_id: str, created_at: str) -> None:
        models.IdempotencyKey.create(
            owner="ada", key="k", fingerprint="f", task_id=owner_id, created_at=created_at, owner_id=owner_id
        )

    for owner_id, created_at in (("b" * 32, "2027"), ("a" * 32, "2026")):
        database.call_now(add, owner_id, created_at)
    database.run_now(lambda db: Runner(db, str(migrate.FOLDER)).down("0002_plain_names"))
    rows = database.run_now(lambda db: read_owners(db, "idempotency_key", "owner", "task_id"))
    database.close()

    assert rows == {"ada": {"b" * 32}}
