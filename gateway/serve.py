"""The gateway's process: serves until it is told to stop, and tells systemd how it is."""

import asyncio
import contextlib
import fcntl
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack

import structlog

from gateway.app import make_folders, open_services
from gateway.errors import UnavailableError
from gateway.front.limits import fit_limits, raise_file_limit
from gateway.front.listener import open_front
from gateway.front.loop_errors import log_loop_errors
from gateway.front.sockets import open_sockets
from gateway.http.application import build_app
from gateway.private_files import make_private_file
from gateway.services.all_services import Services
from gateway.services.spool_address import write_addresses
from gateway.settings import GatewaySettings
from gateway.tls import Certificate
from mltm.runtime.events import wait_for_event
from mltm.runtime.systemd import Notifier

__all__ = ["serve"]

_log = structlog.get_logger(__name__)
_SWITCH_S = 0.0005  # a request takes dozens of steps in threads; with Python's 5 ms each waits so long for a busy loop
_REFRESH_S = 15.0  #: so often the certificate's files are looked at


async def serve(settings: GatewaySettings, environment: Mapping[str, str]) -> None:
    """Serve until SIGTERM or SIGINT. `environment`: what systemd asked for. Raises UnavailableError."""
    sys.setswitchinterval(_SWITCH_S)
    notifier, stop = Notifier(environment), asyncio.Event()
    loop = asyncio.get_running_loop()
    log_loop_errors(loop)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    certificate: Certificate | None = None
    if settings.tls_cert and settings.tls_key:
        certificate = await asyncio.to_thread(Certificate, settings.tls_cert, settings.tls_key)
    async with AsyncExitStack() as stack:
        stack.callback(notifier.close)
        stack.enter_context(_lock(settings))
        services = await stack.enter_async_context(open_services(settings))
        port = await _listen(stack, services, settings, certificate)
        url = settings.public_url or settings.model_copy(update={"port": port}).url
        await asyncio.to_thread(write_addresses, await services.agents.list_inbox_keys(), url)
        if certificate is not None:
            await stack.enter_async_context(_refreshing(certificate, stop))
        notifier.ready()
        _log.info("gateway_started", url=url)
        await _tell_systemd(notifier, f"Listens at {url}", stop)
        notifier.stopping()
        _log.info("gateway_stopping")


async def _tell_systemd(notifier: Notifier, status: str, stop: asyncio.Event) -> None:
    """Say that we are alive until we are to stop. This awaits nothing else: a full pool of threads must not end us."""
    is_stopped = False
    while not is_stopped:
        notifier.alive(status)
        is_stopped = await wait_for_event(stop, notifier.every_s or _REFRESH_S)


@contextlib.asynccontextmanager
async def _refreshing(certificate: Certificate, stop: asyncio.Event) -> AsyncIterator[None]:
    async def refresh_for_ever() -> None:
        while not await wait_for_event(stop, _REFRESH_S):
            await asyncio.to_thread(certificate.refresh)

    task = asyncio.create_task(refresh_for_ever())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _listen(
    stack: AsyncExitStack, services: Services, settings: GatewaySettings, certificate: Certificate | None
) -> int:
    """Open the port; `stack` closes it. Returns its number."""
    limits = fit_limits(settings, raise_file_limit())
    sockets = await open_sockets(settings)
    port: int = sockets[0].getsockname()[1]
    app = build_app(services, settings)
    await stack.enter_async_context(open_front(app, sockets, limits, certificate.context if certificate else None))
    return port


@contextlib.contextmanager
def _lock(settings: GatewaySettings) -> Iterator[None]:
    """One process serves a data folder. The kernel frees the lock of one that was killed."""
    make_folders(settings)
    try:
        make_private_file(settings.data_dir / "lock")
        with (settings.data_dir / "lock").open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError as error:
        raise UnavailableError(
            f"Another gateway serves the data folder {settings.data_dir}.",
            key="already_running",
            next_step="Stop that gateway first, or set data_dir to another folder.",
        ) from error
