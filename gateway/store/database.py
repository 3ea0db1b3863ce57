"""The only way to the database: one thread runs every query; a write transaction takes the lock at once.

Measured: of 40 deferred transactions at once, 30 failed ("database is locked", whatever the busy timeout), and a second
thread makes SQLite no faster.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

import peewee

from gateway.errors import DiskFullError, UnavailableError
from gateway.store.models import DATABASE

__all__ = ["Database"]

P = ParamSpec("P")
T = TypeVar("T")

# busy_timeout comes first: the switch to WAL needs it (measured). FULL: an accepted task survives a power cut.
PRAGMAS = (
    ("busy_timeout", 10_000),
    ("journal_mode", "wal"),
    ("synchronous", "full"),
    ("foreign_keys", 1),
    ("cache_size", -16_000),
)


class Database:
    """A SQLite file behind one thread. `call` writes, `read` only reads; `run_now` opens no transaction."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._peewee = peewee.SqliteDatabase(str(path), pragmas=PRAGMAS)
        self._thread = ThreadPoolExecutor(1, "database")

    def call_now(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a writing transaction and wait for it; for programs without a loop."""
        job = partial(fn, *args, **kwargs)
        with _explaining_errors(self.path):
            return self._thread.submit(self._write, job).result()

    def run_now(self, fn: Callable[[peewee.SqliteDatabase], T]) -> T:
        """Run `fn(database)` outside a transaction and wait for it; for migrations."""
        with _explaining_errors(self.path):
            return self._thread.submit(self._plain, fn).result()

    async def call(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a writing transaction. A cancelled caller does not stop it: writes are repeatable."""
        return await self._wait(self._thread.submit(self._write, partial(fn, *args, **kwargs)))

    async def read(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function that only reads, on one snapshot."""
        return await self._wait(self._thread.submit(self._read, partial(fn, *args, **kwargs)))

    async def _wait(self, future: Future[T]) -> T:
        with _explaining_errors(self.path):
            return await asyncio.wrap_future(future)

    def _open(self) -> None:
        DATABASE.initialize(self._peewee)  # for this thread
        self._peewee.connect(reuse_if_open=True)

    def _write(self, job: Callable[[], T]) -> T:
        self._open()
        with self._peewee.atomic("IMMEDIATE"):
            return job()

    def _read(self, job: Callable[[], T]) -> T:
        self._open()
        with self._peewee.atomic():
            return job()

    def _plain(self, fn: Callable[[peewee.SqliteDatabase], T]) -> T:
        self._open()
        return fn(self._peewee)

    def close(self) -> None:
        """Finish what is queued and close the file."""
        self._thread.submit(self._peewee.close).result()
        self._thread.shutdown()


@contextmanager
def _explaining_errors(path: Path) -> Iterator[None]:
    """Turn errors of an unusable file into UnavailableError. Those of a wrong query (ProgrammingError) stay."""
    try:
        yield
    except peewee.DatabaseError as error:
        if type(error) not in (peewee.DatabaseError, peewee.OperationalError):
            raise
        if _is_full(error):
            raise DiskFullError(
                f"The disk of the database {path} is full. Nothing of this request was stored.",
                public_detail="The disk of the gateway's database is full. Nothing of this request was stored.",
            ) from error
        raise UnavailableError(
            f"The database {path} cannot be used now: {error}.",
            key="database_unavailable",
            public_detail=f"The gateway's database cannot be used now: {error}.",  # SQLite names no path
            next_step="Try again in a moment. If it stays, the administrator should check that file and its disk.",
        ) from error


def _is_full(error: BaseException | None) -> bool:
    """SQLite has already rolled back then, and Peewee's rollback fails after it (SQLite 3.40, Peewee 4.5.3)."""
    while error is not None:
        if "disk is full" in str(error):
            return True
        error = error.__context__
    return False
