"""Puts the parts together: folders, database and services. Who serves them over HTTP is `gateway.serve`."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path

import structlog

from gateway.errors import UnavailableError
from gateway.private_files import make_private_file, make_private_folder
from gateway.security_log import SecurityLog
from gateway.services.agents import Agents
from gateway.services.all_services import Services
from gateway.services.cluster_files import ClusterFiles
from gateway.services.guesses import Guesses
from gateway.services.health import HealthCheck
from gateway.services.lanes import Lanes
from gateway.services.new_passwords import list_names
from gateway.services.publisher import Publisher
from gateway.services.submissions import Submissions
from gateway.services.tasks import Tasks
from gateway.services.users import Users
from gateway.services.wake import Wake
from gateway.settings import GatewaySettings, list_weak_settings
from gateway.store import migrate
from gateway.store.cache import list_piece_ids
from gateway.store.database import Database
from gateway.store.tasks import list_ids_with_files
from mltm.runtime.clock import Clock

__all__ = ["make_database_file", "make_folders", "open_database", "open_services"]

_log = structlog.get_logger(__name__)


def make_folders(settings: GatewaySettings) -> None:
    """Make the data folder and what is in it, for this account only. Raises UnavailableError."""
    try:
        for folder in (settings.data_dir, settings.staging, settings.files, settings.cache):
            make_private_folder(folder)
    except OSError as error:
        raise UnavailableError(
            f"The data folder {settings.data_dir} cannot be used: {error.strerror}.",
            key="bad_data_dir",
            next_step="Create the folder and make this user its owner, or set data_dir to another folder.",
        ) from error


def open_database(settings: GatewaySettings) -> Database:
    """Open the database. A new file is migrated; UnavailableError if an old one lacks a migration."""
    make_folders(settings)
    make_database_file(settings)
    database = Database(settings.database_path)
    try:
        if migrate.is_new(database):
            migrate.migrate(database)
        migrate.require_migrated(database)
    except BaseException:
        database.close()
        raise
    return database


def make_database_file(settings: GatewaySettings) -> None:
    """Make the database's file for this account only; SQLite gives its -wal and -shm the same mode."""
    path = settings.database_path
    for known in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        if known == path or known.exists():
            with contextlib.suppress(OSError):  # SQLite explains a file that cannot be used
                make_private_file(known)


def open_security_log(settings: GatewaySettings, clock: Clock) -> SecurityLog:
    """Open the security log, and write what everybody who reads it should know first: which settings weaken safety."""
    security = SecurityLog(settings.security_log_path, clock.now)
    security.record("gateway_started", version=version("ml-task-manager"))
    for setting, reason in list_weak_settings(settings):
        security.record("weak_setting", "allowed", setting=setting, reason=reason)
        _log.warning("weak_setting", setting=setting, reason=reason)
    return security


@contextlib.asynccontextmanager
async def open_services(settings: GatewaySettings, clock: Clock | None = None) -> AsyncIterator[Services]:
    """Open the database, clean up after a crash, start the publisher. Raises UnavailableError."""
    clock, wake = clock or Clock(), Wake()
    async with AsyncExitStack() as stack:
        security = await asyncio.to_thread(open_security_log, settings, clock)
        stack.push_async_callback(asyncio.to_thread, security.close)
        database = await asyncio.to_thread(open_database, settings)
        stack.push_async_callback(asyncio.to_thread, database.close)
        generation = await database.read(migrate.read_generation)
        gateway_id = await database.call(migrate.read_gateway_id)
        await asyncio.to_thread(_remove_leftovers, await _list_known(database, settings))
        publisher = Publisher(database, settings, clock, wake)
        publishing = asyncio.create_task(publisher.run())
        stack.push_async_callback(_stop, publishing)
        users = Users(database, clock, settings.token_days, security, list_names(settings))
        stack.push_async_callback(asyncio.to_thread, users.close)
        health = HealthCheck(database, settings, publisher, publishing)
        stack.callback(health.close)
        yield Services(
            users=users,
            submissions=Submissions(database, settings, clock, wake),
            tasks=Tasks(database, clock, wake),
            agents=Agents(
                database, clock, wake, security, generation=generation, name=settings.name, gateway_id=gateway_id
            ),
            cluster_files=ClusterFiles(database, settings, clock, wake, generation=generation),
            health=health,
            guesses=Guesses(clock),
            lanes=Lanes(),
            security=security,
        )


async def _list_known(database: Database, settings: GatewaySettings) -> dict[Path, frozenset[str]]:
    """The folders of the data folder, and the names in them that the database knows."""
    return {
        settings.staging: frozenset[str](),
        settings.files: frozenset(await database.read(list_ids_with_files)),
        settings.cache: frozenset(await database.read(list_piece_ids)),
    }


def _remove_leftovers(known: Mapping[Path, Collection[str]]) -> None:
    """Remove what no row of the database knows: a crash before its transaction left it."""
    for folder, names in known.items():
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name in names:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


async def _stop(publishing: asyncio.Task[None]) -> None:
    publishing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await publishing
