"""Pure: how long one connection has kept us waiting, and how large its request's header is. It takes `now`."""

from enum import Enum

from gateway.front.limits import Limits

__all__ = ["MAX_HEADER_BYTES", "HeaderMeter", "Lateness", "Pace"]

MAX_HEADER_BYTES = 32 * 1024  #: request line and fields together
_END = b"\r\n\r\n"


class Lateness(Enum):
    """What a connection is late with."""

    REQUEST = "no request came"
    HEADER = "the request's header did not end"
    BODY = "the body comes too slowly"
    READING = "the client does not take the answer"


class Pace:
    """Counts only time in which the client is to act. A stopped process or a blocked loop counts as one step."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits, self._looked_s = limits, now
        self.waited_s = 0.0  #: how long no request has been there
        self._has_begun = self._has_served = False
        self._body_s = self._unread_s = 0.0
        self._body_bytes = self._unsent = 0

    def hear(self, size: int, *, in_request: bool) -> None:
        """So many bytes came."""
        if in_request:
            self._body_bytes += size
        elif not self._has_begun:
            self._has_begun, self.waited_s = True, 0.0 if self._has_served else self.waited_s

    def begin(self) -> None:
        """A request's header is complete."""
        self._body_s, self._body_bytes = 0.0, 0
        self.waited_s = 0.0

    def finish(self) -> None:
        """The request has its answer; the next one may come."""
        self._has_served, self._has_begun = True, False
        self.waited_s = 0.0

    def look(self, now: float, *, is_busy: bool, awaits_body: bool, unsent: int, is_closing: bool) -> Lateness | None:
        """What the client is late with. `unsent`: bytes of answers that it has not taken."""
        passed_s = min(now - self._looked_s, 2 * self._limits.look_every_s)
        self._looked_s = now
        if self._is_unread(passed_s, unsent, is_closing=is_closing):
            return Lateness.READING
        if is_closing:
            return None
        if is_busy:
            return self._look_at_body(passed_s) if awaits_body else None
        self.waited_s = 0.0 if unsent else self.waited_s + passed_s
        if self._has_begun:
            return Lateness.HEADER if self.waited_s > self._limits.header_s else None
        may_wait_s = self._limits.idle_s if self._has_served else self._limits.header_s
        return Lateness.REQUEST if self.waited_s > may_wait_s else None

    def _is_unread(self, passed_s: float, unsent: int, *, is_closing: bool) -> bool:
        stands_still = unsent == self._unsent and (unsent > 0 or is_closing)
        self._unread_s = self._unread_s + passed_s if stands_still else 0.0
        self._unsent = unsent
        return self._unread_s > (self._limits.closing_s if is_closing else self._limits.unread_s)

    def _look_at_body(self, passed_s: float) -> Lateness | None:
        self._body_s += passed_s
        if self._body_s < self._limits.body_window_s:
            return None
        is_slow = self._body_bytes < self._limits.body_window_bytes
        self._body_s, self._body_bytes = 0.0, 0
        return Lateness.BODY if is_slow else None


class HeaderMeter:
    """Counts the bytes of one request's header as they come, before anybody keeps them."""

    def __init__(self) -> None:
        self._size, self._tail = 0, b""
        self._is_complete = False
        self.has_request_line = False

    def is_too_large(self, data: bytes) -> bool:
        """Count these bytes. Empty lines before the request line are no part of it (RFC 9112, 2.2)."""
        if self._is_complete:
            return False
        if not self._size:
            data = data.lstrip(b"\r\n")
        joined = self._tail + data
        end = joined.find(_END)
        self._is_complete = end >= 0
        self._size += len(data) if end < 0 else end + len(_END) - len(self._tail)
        self._tail = joined[-(len(_END) - 1) :]
        self.has_request_line = self.has_request_line or b"\n" in joined
        return self._size > MAX_HEADER_BYTES
