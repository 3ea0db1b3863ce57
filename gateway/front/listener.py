"""Accepts connections: counts them for each address, and looks after them until they end.

asyncio's own accept loop knows no address before the handshake and tries 128 times a second when no descriptor is
left; so this one accepts, and hands each socket to asyncio with the documented `connect_accepted_socket`.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

from aiohttp import web

from gateway.errors import GatewayError
from gateway.front.connection import Connection, follow
from gateway.front.episode import Episode
from gateway.front.limits import Limits
from gateway.front.refusals import ADDRESS_IS_FULL, GATEWAY_IS_FULL, render_bytes
from gateway.front.seats import Seat, Seats

__all__ = ["BACKLOG", "open_front"]

BACKLOG = 1024  #: connections that the kernel keeps until they are accepted
_LOOKED_AT_ONCE = 32  #: connections; ending one that is late is work, too
_PAUSE_S = 0.2  #: after an accept that failed for want of descriptors or memory
_NOT_OURS = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.EHOSTUNREACH})


@contextlib.asynccontextmanager
async def open_front(
    app: web.Application, sockets: Sequence[socket.socket], limits: Limits, tls: ssl.SSLContext | None = None
) -> AsyncIterator[web.AppRunner]:
    """Serve the application on these listening sockets until the block ends; then they are closed."""
    async with AsyncExitStack() as stack:
        for listening in sockets:
            stack.callback(listening.close)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=5.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        for listening in sockets:
            stack.callback(listening.close)  # before the connections end: nobody new is let in
        assert runner.server is not None
        runner.server.request_handler = follow(runner.server.request_handler)
        front = _Front(runner.server, limits, tls)
        stack.callback(front.end_handshakes)
        for listening in sockets:
            stack.push_async_callback(_stop, asyncio.create_task(front.accept_all(listening)))
        stack.push_async_callback(_stop, asyncio.create_task(front.look_after_all()))
        yield runner


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


class _Front:
    def __init__(self, server: web.Server, limits: Limits, tls: ssl.SSLContext | None) -> None:
        self._server, self._limits, self._tls = server, limits, tls
        self._seats, self._loop = Seats(limits), asyncio.get_running_loop()
        self._no_files = Episode("accept_failed")
        self._refused = Episode("connections_refused")

    async def accept_all(self, listening: socket.socket) -> None:
        """Accept for ever. What fails is tried again: the socket goes on listening."""
        while True:
            try:
                accepted, address = await self._loop.sock_accept(listening)
            except OSError as error:
                if error.errno not in _NOT_OURS:
                    self._no_files.add(self._loop.time(), error=str(error), connections=len(self._seats.list_taken()))
                    await asyncio.sleep(_PAUSE_S)
                continue
            self._admit(accepted, str(address[0]))
            await asyncio.sleep(0)  # sock_accept does not pause while others wait, and each is a millisecond of work

    async def look_after_all(self) -> None:
        """End those who are late, for ever."""
        while True:
            await asyncio.sleep(self._limits.look_every_s)
            now = self._loop.time()
            for number, seat in enumerate(self._seats.list_taken(), 1):
                if seat.connection is not None:
                    seat.connection.look(now)
                if number % _LOOKED_AT_ONCE == 0:
                    await asyncio.sleep(0)
            self._no_files.look(now)
            self._refused.look(now)

    def end_handshakes(self) -> None:
        """End what is no connection yet; aiohttp does not know it."""
        for seat in self._seats.list_taken():
            if seat.connection is None:
                seat.end()

    def _admit(self, accepted: socket.socket, address: str) -> None:
        if self._seats.is_full_for(address) and not self._seats.make_room(address):
            self._turn_away(accepted, address, ADDRESS_IS_FULL)
        elif self._seats.is_full and not self._seats.make_room():
            self._turn_away(accepted, address, GATEWAY_IS_FULL)
        else:
            seat = self._seats.take(address, accepted)
            seat.connecting = self._loop.create_task(self._connect(accepted, seat))

    async def _connect(self, accepted: socket.socket, seat: Seat) -> None:
        seat.accepted = None  # from here on asyncio closes it

        def build() -> Connection:
            return Connection(
                self._server, self._limits, lambda: self._seats.begin_to_wait(seat), lambda: self._seats.leave(seat)
            )

        times = {"ssl_handshake_timeout": self._limits.handshake_s, "ssl_shutdown_timeout": self._limits.closing_s}
        try:
            _, seat.connection = await self._loop.connect_accepted_socket(
                build, accepted, ssl=self._tls, **(times if self._tls else {})
            )
        except (OSError, asyncio.CancelledError):  # no handshake, or it took too long, or others need the place
            self._seats.leave(seat)

    def _turn_away(self, accepted: socket.socket, address: str, error: GatewayError) -> None:
        self._refused.add(self._loop.time(), address=address, reason=error.detail)
        with contextlib.suppress(OSError), accepted:
            if self._tls is None:
                accepted.send(render_bytes(error, is_secure=False))
