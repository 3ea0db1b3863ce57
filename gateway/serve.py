"""The gateway's process: puts the parts together, serves until it is told to stop, tells systemd how it is."""

import asyncio
import contextlib
import errno
import fcntl
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path

import structlog
from aiohttp import web

from gateway.errors import UnavailableError
from gateway.http.application import build_app
from gateway.services.agents import Agents
from gateway.services.all_services import Services
from gateway.services.cluster_files import Relay
from gateway.services.publisher import Publisher
from gateway.services.submissions import Intake, sweep
from gateway.services.tasks import Tasks
from gateway.services.users import People
from gateway.services.wake import Wake
from gateway.settings import GatewaySettings
from gateway.store import agents as agent_rows
from gateway.store import migrate, outbox
from gateway.store.cache import list_piece_ids
from gateway.store.database import Database
from gateway.store.tasks import list_ids_with_files
from gateway.tls import Certificate
from mltm.contract.spool_layout import Spool
from mltm.contract.user_api import Health
from mltm.runtime import hostile_files
from mltm.runtime.clock import Clock
from mltm.runtime.events import wait_for_event
from mltm.runtime.systemd import Notifier

__all__ = ["make_folders", "open_database", "open_services", "serve"]

_log = structlog.get_logger(__name__)
_REFRESH_S = 15.0  #: so often the certificate's files are looked at
_URL_MODE = 0o644  # no secret; the agent may be another account
_VERSION = version("ml-task-manager")  # read here: it reads files


def open_database(settings: GatewaySettings) -> Database:
    """Open the database; a new file is migrated, an old one that lacks a migration is refused in words."""
    make_folders(settings)
    database = Database(settings.database_path)
    try:
        if migrate.is_new(database):
            migrate.migrate(database)
        migrate.require_migrated(database)
    except BaseException:
        database.close()
        raise
    return database


def make_folders(settings: GatewaySettings) -> None:
    """Make the data folder. Raises UnavailableError."""
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        settings.staging.mkdir(exist_ok=True)
    except OSError as error:
        raise UnavailableError(
            f"The data folder {settings.data_dir} cannot be used: {error.strerror}.",
            key="bad_data_dir",
            next_step="Make it and give it to this user, or set data_dir.",
        ) from error


@contextlib.asynccontextmanager
async def open_services(settings: GatewaySettings, clock: Clock | None = None) -> AsyncIterator[Services]:
    """Everything behind HTTP, running: database, publisher. Raises UnavailableError."""
    clock, wake = clock or Clock(), Wake()
    async with AsyncExitStack() as stack:
        database = await asyncio.to_thread(open_database, settings)
        stack.push_async_callback(asyncio.to_thread, database.close)
        generation = await database.read(migrate.read_generation)
        gateway_id = await database.call(migrate.read_gateway_id)
        kept = {
            settings.staging: frozenset[str](),
            settings.files: frozenset(await database.read(list_ids_with_files)),
            settings.cache: frozenset(await database.read(list_piece_ids)),
        }
        await asyncio.to_thread(sweep, kept)
        publisher = Publisher(database, settings, clock, wake)
        running = asyncio.create_task(publisher.run())
        stack.push_async_callback(_end, running)

        async def health() -> Health:
            return await _check(database, settings, publisher, running)

        yield Services(
            people=People(database, clock, settings.token_days),
            intake=Intake(database, settings, clock, wake),
            tasks=Tasks(database, clock, wake),
            agents=Agents(database, clock, wake, generation=generation, name=settings.name, gateway_id=gateway_id),
            relay=Relay(database, settings, clock, wake, generation=generation),
            health=health,
            generation=generation,
            staging=settings.staging,
        )


async def _end(running: asyncio.Task[None]) -> None:
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def _check(
    database: Database, settings: GatewaySettings, publisher: Publisher, running: asyncio.Task[None]
) -> Health:
    checks = {"database": "ok", "disk": "ok", "spools": publisher.problem or "ok", "publisher": "ok"}
    try:
        waiting = await database.read(outbox.count_waiting)
    except UnavailableError as error:
        checks["database"], waiting = str(error), 0
    if (await asyncio.to_thread(shutil.disk_usage, settings.data_dir)).free < settings.min_free_bytes:
        checks["disk"] = "The disk is nearly full: no new task is accepted."
    if publisher.problem and waiting:
        checks["spools"] = f"{publisher.problem} {waiting} tasks wait."
    if running.done():
        checks["publisher"] = "The publisher has ended: restart the gateway."
    is_failing = any(checks[name] != "ok" for name in ("database", "disk", "publisher"))
    status = "failing" if is_failing else "ok" if checks["spools"] == "ok" else "degraded"
    return Health.model_validate({"status": status, "version": _VERSION, "checks": checks})


async def serve(settings: GatewaySettings, environment: Mapping[str, str]) -> None:
    """Serve until SIGTERM or SIGINT. `environment`: systemd's wishes are in it. Raises UnavailableError."""
    notifier, stop = Notifier(environment), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    certificate = Certificate(settings.tls_cert, settings.tls_key) if settings.tls_cert and settings.tls_key else None
    async with AsyncExitStack() as stack:
        stack.callback(notifier.close)
        stack.enter_context(_lock(settings))
        services = await stack.enter_async_context(open_services(settings))
        runner = web.AppRunner(build_app(services, settings), access_log=None, shutdown_timeout=5.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(
            runner, settings.host, settings.port, ssl_context=certificate.context if certificate else None
        )
        try:
            await site.start()
        except OSError as error:
            raise _explain_listening(error, settings) from error
        port = runner.addresses[0][1]
        url = settings.public_url or settings.model_copy(update={"port": port}).url
        await asyncio.to_thread(_tell_spools, settings, url)
        notifier.ready()
        _log.info("gateway_started", url=url)
        pause_s = min(_REFRESH_S, notifier.every_s or _REFRESH_S)
        is_stopped = False
        while not is_stopped:
            notifier.alive(f"Listens at {url}")
            if certificate is not None:
                await asyncio.to_thread(certificate.refresh)
            is_stopped = await wait_for_event(stop, pause_s)
        notifier.stopping()
        _log.info("gateway_stopping")


@contextlib.contextmanager
def _lock(settings: GatewaySettings) -> Iterator[None]:
    """One process serves a data folder; the kernel frees the lock of one that was killed."""
    make_folders(settings)
    try:
        with (settings.data_dir / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError as error:
        raise UnavailableError(
            f"Another gateway serves the data folder {settings.data_dir}.",
            key="already_running",
            next_step="End that one first, or set another data_dir.",
        ) from error


def _tell_spools(settings: GatewaySettings, url: str) -> None:
    """Write the address to <spool>/gateway.url; a spool that is away is told at the next start."""
    database = Database(settings.database_path)
    try:
        spools = {agent.spool for agent in database.call_now(agent_rows.list_live) if agent.spool}
    finally:
        database.close()
    for folder in spools:
        try:
            write_url(Spool(Path(folder)), url)
        except OSError as error:
            _log.warning("spool_not_told", spool=folder, url=url, error=str(error))


def write_url(spool: Spool, url: str) -> None:
    """Write where the gateway is, whole or not at all, in the place of what has that name. Raises OSError."""
    name = spool.gateway_url.name
    building = hostile_files.make_private_name(f".{name}")
    with hostile_files.open_folder(spool.root) as root:
        try:
            hostile_files.write_new_at(root, building, f"{url}\n".encode(), _URL_MODE)
            hostile_files.rename_at(root, building, root, name)
        except OSError:
            with contextlib.suppress(OSError):
                hostile_files.remove_tree_at(root, building)
            raise


def _explain_listening(error: OSError, settings: GatewaySettings) -> UnavailableError:
    # Python 3.13's create_server raises an error without a number if no address is one of this machine's.
    number = error.errno or errno.EADDRNOTAVAIL
    step = {
        errno.EADDRINUSE: "Choose another --port, or end what uses this one.",
        errno.EACCES: "Ports below 1024 are for root: choose another --port.",
    }.get(number, "Set host to an address of this machine; 0.0.0.0 means all of them.")
    # asyncio puts a sentence of its own in place of the system's words; those of a name are no errno of the system's.
    message = error.strerror if isinstance(error, socket.gaierror) else os.strerror(number)
    return UnavailableError(
        f"{settings.host}:{settings.port} cannot be listened on: {message}.", key="address_in_use", next_step=step
    )
