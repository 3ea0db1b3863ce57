"""Migrates the tables (gateway/migrations, run by playhouse), and keeps the database's generation and id."""

import secrets
from pathlib import Path

import peewee
from playhouse.migrations import Runner

from gateway.errors import UnavailableError
from gateway.store.database import Database
from gateway.store.models import Meta

__all__ = [
    "is_new", "list_pending", "migrate", "read_gateway_id", "read_generation", "renew_generation", "require_migrated",
]  # fmt: skip

FOLDER = Path(__file__).resolve().parent.parent / "migrations"


def is_new(database: Database) -> bool:
    """True if the database has no tables yet."""
    return database.run_now(lambda db: not db.get_tables())


def list_pending(database: Database) -> list[str]:
    """List the migrations that have not been run on it."""
    return database.run_now(_pending)


def _pending(db: peewee.SqliteDatabase) -> list[str]:
    return [str(m.name) for m in Runner(db, str(FOLDER)).status() if m.applied is None]


def migrate(database: Database) -> list[str]:
    """Run what is pending. A change sets a new generation, so that agents report everything again."""
    done = database.run_now(lambda db: [str(name) for name in Runner(db, str(FOLDER)).up()])
    if done:
        renew_generation(database)
    return done


def renew_generation(database: Database) -> str:
    """Set a new generation: after a migration, and after a backup was restored."""
    generation = secrets.token_hex(16)
    database.call_now(_write_generation, generation)
    return generation


def _write_generation(generation: str) -> None:
    Meta.insert(name="generation", value=generation).on_conflict_replace().execute()


def read_generation() -> str:
    """The database's generation; `Database` runs this."""
    return str(Meta.get_by_id("generation").value)


def read_gateway_id() -> str:
    """The gateway's id, made at the first call and then the same for ever; `Database.call` runs this.

    It lies in the database, so that a restored backup is the same gateway.
    """
    Meta.insert(name="gateway_id", value=secrets.token_hex(16)).on_conflict_ignore().execute()
    return str(Meta.get_by_id("gateway_id").value)


def require_migrated(database: Database) -> None:
    """Raise UnavailableError if a migration is pending."""
    pending = list_pending(database)
    if pending:
        raise UnavailableError(
            f"The database {database.path} is from an older version: {', '.join(pending)} has not been run on it.",
            key="not_migrated",
            next_step="Copy the file, then run `mltm-gateway migrate` with the same settings.",
        )
