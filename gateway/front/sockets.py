"""Opens the listening sockets. Plain HTTP leaves this machine only if a setting says so."""

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
from contextlib import ExitStack

import structlog

from gateway.errors import UnavailableError
from gateway.front.listener import BACKLOG
from gateway.settings import GatewaySettings

__all__ = ["open_sockets"]

_log = structlog.get_logger(__name__)


async def open_sockets(settings: GatewaySettings) -> list[socket.socket]:
    """Listen on host and port. Raises UnavailableError (address_in_use, plain_http)."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(
            settings.host or None, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        with ExitStack() as stack:
            opened = _open(sorted({(family, address) for family, _, _, _, address in found}), settings, stack)
            stack.pop_all()
    except OSError as error:
        raise _explain_listening(error, settings) from error
    return opened


def _open(
    addresses: list[tuple[int, tuple[object, ...]]], settings: GatewaySettings, stack: ExitStack
) -> list[socket.socket]:
    opened: list[socket.socket] = []
    port = settings.port
    for family, address in addresses:
        listening = stack.enter_context(contextlib.closing(socket.socket(family, socket.SOCK_STREAM)))
        listening.settimeout(0)  # asyncio's sockets do not block
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            listening.bind((address[0], port, *address[2:]))
        except OSError as error:
            if not opened or error.errno != errno.EADDRNOTAVAIL:  # localhost is ::1 too, also without IPv6
                raise
            continue
        port = listening.getsockname()[1]  # port 0: the other addresses get the same
        opened.append(listening)
    _check_plain_http(opened, settings)
    for listening in opened:
        listening.listen(BACKLOG)
    return opened


def _check_plain_http(opened: list[socket.socket], settings: GatewaySettings) -> None:
    if settings.tls_cert is not None:
        return
    outside = [address for address in (one.getsockname()[0] for one in opened) if not _is_loopback(address)]
    if not outside:
        return
    if not settings.allow_plain_http:
        raise UnavailableError(
            f"Without TLS everybody on the network could read passwords, tokens and scripts (host is {outside[0]}).",
            key="plain_http",
            title="Plain HTTP refused",
            next_step="Set tls_cert and tls_key, or listen on 127.0.0.1 behind a proxy that has TLS. "
            "In a network that you trust, set allow_plain_http = true (--allow-plain-http).",
        )
    _log.warning("plain_http", host=outside[0], message="Everybody on the network can read passwords and tokens.")


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _explain_listening(error: OSError, settings: GatewaySettings) -> UnavailableError:
    number = error.errno or errno.EADDRNOTAVAIL
    next_step = {
        errno.EADDRINUSE: "Choose another --port, or stop the program that uses this one.",
        errno.EACCES: "Ports below 1024 are for root: choose another --port.",
    }.get(number, "Set host to an address of this machine; 0.0.0.0 means all of them.")
    # The errors of a name are not the system's errno.
    reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(number)
    return UnavailableError(
        f"Cannot listen on {settings.host}:{settings.port}: {reason}.", key="address_in_use", next_step=next_step
    )
