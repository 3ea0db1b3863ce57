"""The gateway's process: serves until it is told to stop, and tells systemd how it is."""

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack

import structlog
from aiohttp import web

from gateway.app import make_folders, open_services
from gateway.errors import UnavailableError
from gateway.http.application import build_app
from gateway.services.all_services import Services
from gateway.services.spool_address import write_addresses
from gateway.settings import GatewaySettings
from gateway.tls import Certificate
from mltm.runtime.events import wait_for_event
from mltm.runtime.systemd import Notifier

__all__ = ["serve"]

_log = structlog.get_logger(__name__)
_REFRESH_S = 15.0  #: so often the certificate's files are looked at


async def serve(settings: GatewaySettings, environment: Mapping[str, str]) -> None:
    """Serve until SIGTERM or SIGINT. `environment`: what systemd asked for. Raises UnavailableError."""
    notifier, stop = Notifier(environment), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    certificate = Certificate(settings.tls_cert, settings.tls_key) if settings.tls_cert and settings.tls_key else None
    async with AsyncExitStack() as stack:
        stack.callback(notifier.close)
        stack.enter_context(_lock(settings))
        services = await stack.enter_async_context(open_services(settings))
        port = await _listen(stack, services, settings, certificate)
        url = settings.public_url or settings.model_copy(update={"port": port}).url
        await asyncio.to_thread(write_addresses, await services.agents.list_inbox_keys(), url)
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


async def _listen(
    stack: AsyncExitStack, services: Services, settings: GatewaySettings, certificate: Certificate | None
) -> int:
    """Open the port; `stack` closes it. Returns its number."""
    runner = web.AppRunner(build_app(services, settings), access_log=None, shutdown_timeout=5.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    ssl_context = certificate.context if certificate else None
    try:
        await web.TCPSite(runner, settings.host, settings.port, ssl_context=ssl_context).start()
    except OSError as error:
        raise _explain_listening(error, settings) from error
    port: int = runner.addresses[0][1]
    return port


@contextlib.contextmanager
def _lock(settings: GatewaySettings) -> Iterator[None]:
    """One process serves a data folder. The kernel frees the lock of one that was killed."""
    make_folders(settings)
    try:
        with (settings.data_dir / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError as error:
        raise UnavailableError(
            f"Another gateway serves the data folder {settings.data_dir}.",
            key="already_running",
            next_step="Stop that gateway first, or set data_dir to another folder.",
        ) from error


def _explain_listening(error: OSError, settings: GatewaySettings) -> UnavailableError:
    # Python 3.13's create_server raises an error without a number if no address is one of this machine's.
    number = error.errno or errno.EADDRNOTAVAIL
    next_step = {
        errno.EADDRINUSE: "Choose another --port, or stop the program that uses this one.",
        errno.EACCES: "Ports below 1024 are for root: choose another --port.",
    }.get(number, "Set host to an address of this machine; 0.0.0.0 means all of them.")
    # asyncio writes a sentence of its own over the system's message. The errors of a name are not the system's errno.
    reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(number)
    return UnavailableError(
        f"Cannot listen on {settings.host}:{settings.port}: {reason}.", key="address_in_use", next_step=next_step
    )
