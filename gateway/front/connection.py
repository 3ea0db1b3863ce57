"""One connection: aiohttp's handler of HTTP/1.1, with deadlines, a bounded header, and our own answers to junk.

Of aiohttp (3.14) it overrides the asyncio callbacks (connection_made, data_received, connection_lost) and two public
methods (handle_error, log_exception). `Limits` says how long a client may take; the front calls `look` all the time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import hdrs, web

from gateway.errors import GatewayError
from gateway.front.limits import Limits
from gateway.front.pace import MAX_HEADER_BYTES, HeaderMeter, Lateness, Pace
from gateway.front.refusals import (
    HEADER_TOO_LARGE,
    SLOW_HEADER,
    UNKNOWN_EXPECTATION,
    URL_TOO_LONG,
    build_slow_body,
    explain_broken,
    render_bytes,
    render_response,
)

__all__ = ["Connection", "Handler", "follow"]

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
_log = structlog.get_logger(__name__)
_MAX_AHEAD_BYTES = 64 * 1024  #: of requests that are sent before the one before them is answered
_EXPECTED = "100-continue"
_NEVER_S = 86_400.0  #: `look` ends idle connections, aiohttp's own timer does not


class Connection(web.RequestHandler):
    """`on_answered` is called when a request has its answer, `on_lost` once, when the connection has ended."""

    def __init__(
        self, server: web.Server, limits: Limits, on_answered: Callable[[], None], on_lost: Callable[[], None]
    ) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            server, loop=loop, keepalive_timeout=_NEVER_S, auto_decompress=False,
            access_log=None,  # type: ignore[arg-type]  # None is none, as AppRunner's own documentation says
            max_line_size=MAX_HEADER_BYTES, max_field_size=MAX_HEADER_BYTES // 2, max_headers=100,
        )  # fmt: skip
        self._on_answered, self._on_lost = on_answered, on_lost
        self._pace, self._meter = Pace(limits, loop.time()), HeaderMeter()
        self._wire: asyncio.Transport | None = None
        self._request: web.BaseRequest | None = None  # the one that runs, or whose body still comes
        self._is_running = False
        self._ahead_bytes = 0

    @property
    def is_busy(self) -> bool:
        """True while it has a request."""
        return self._is_running or self._awaits_body

    @property
    def _awaits_body(self) -> bool:
        return self._request is not None and not self._request.content.is_eof()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client is there (after the handshake, if there is one)."""
        assert isinstance(transport, asyncio.Transport)
        self._wire = transport
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client is gone, or we are."""
        super().connection_lost(exc)
        self._wire = self._request = None
        self._on_lost()

    def data_received(self, data: bytes) -> None:
        """Bytes came; empty if aiohttp goes on with what it has kept."""
        if data and not self._may_take(data):
            return
        super().data_received(data)

    def _may_take(self, data: bytes) -> bool:
        self._pace.hear(len(data), in_request=self.is_busy)
        if self._awaits_body:
            return True
        if self._is_running:
            self._ahead_bytes += len(data)
            if self._ahead_bytes > _MAX_AHEAD_BYTES:
                self.abort()
            return self._ahead_bytes <= _MAX_AHEAD_BYTES
        if not self._meter.is_too_large(data):
            return True
        self._refuse(HEADER_TOO_LARGE if self._meter.has_request_line else URL_TOO_LONG)
        return False

    def begin(self, request: web.BaseRequest) -> None:
        """A request's header is complete: its handler starts."""
        self._request, self._is_running = request, True
        self._pace.begin()

    def finish(self) -> None:
        """The handler has ended. Its answer may still be on its way, and so may a body that it did not read."""
        self._is_running, self._ahead_bytes = False, 0
        self._meter = HeaderMeter()
        self._pace.finish()
        self._on_answered()

    def look(self, now: float) -> None:
        """End the connection if the client is late."""
        if self._wire is None:
            return
        late = self._pace.look(
            now,
            is_busy=self.is_busy,
            awaits_body=self._awaits_body and self._wire.is_reading(),
            unsent=self._wire.get_write_buffer_size(),
            is_closing=self._wire.is_closing(),
        )
        match late:
            case Lateness.READING:
                self.abort()
            case Lateness.REQUEST:
                self.force_close()
            case Lateness.HEADER:
                self._refuse(SLOW_HEADER)
            case Lateness.BODY:
                self._stop_body()
            case None:
                pass

    def abort(self) -> None:
        """End the connection now, whatever is unsent."""
        wire = self._wire
        self.force_close()
        if wire is not None:
            wire.abort()

    def _stop_body(self) -> None:
        """Let the handler answer that the body is late. If it has answered already, nobody waits for the body."""
        if self._is_running and self._request is not None and self._request.content.exception() is None:
            self._request.content.set_exception(build_slow_body())
        else:
            self.abort()

    def _refuse(self, error: GatewayError) -> None:
        if self._wire is not None and not self._wire.is_closing() and not self._wire.get_write_buffer_size():
            self._wire.write(render_bytes(error, is_secure=self.ssl_context is not None))
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's; it can quote the request
    ) -> web.StreamResponse:
        """Answer in our words what the parser refused, and what no handler caught."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        if status < 500:
            return render_response(explain_broken(exc), is_secure=request.secure)
        _log.error("request_failed", status=status, exc_info=exc)
        return render_response(
            GatewayError("The gateway failed on this request. Its log has the reason."), is_secure=request.secure
        )

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """What aiohttp did not expect. A late body is answered by then, and its error only ends the connection."""
        if isinstance(kw.get("exc_info"), GatewayError):
            return
        _log.error("connection_failed", message=str(args[0]) if args else "", exc_info=kw.get("exc_info", True))


def follow(handler: Handler) -> Handler:
    """Let each request's connection know when its handler starts and ends.

    An unknown Expect is refused here: aiohttp's own answer quotes it, and fails if it is no text.
    """

    async def run(request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, Connection)
        connection.begin(request)
        try:
            if request.headers.get(hdrs.EXPECT, _EXPECTED).lower() != _EXPECTED:
                return render_response(UNKNOWN_EXPECTATION, is_secure=request.secure)
            return await handler(request)
        finally:
            connection.finish()

    return run
