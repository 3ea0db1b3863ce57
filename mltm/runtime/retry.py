"""How long to wait before the next try: full jitter, so that agents do not come back all at once; and who waits."""

import asyncio
from collections.abc import Awaitable, Callable

from mltm.runtime.clock import Clock

__all__ = ["Backoff", "Sleep", "wait_for_event"]

Sleep = Callable[[float], Awaitable[None]]
_LONGEST_RETRY_AFTER_S = 3600.0


class Backoff:
    """Delays of one caller: uniform between 0 and a ceiling that doubles from `first_s` to `most_s`."""

    def __init__(self, clock: Clock, *, first_s: float = 1.0, most_s: float = 60.0) -> None:
        self._clock = clock
        self._first_s = first_s
        self._most_s = most_s
        self._failures = 0

    def next_s(self, retry_after_s: float | None = None) -> float:
        """Count a failure and say how long to wait; never shorter than the server's Retry-After (at most an hour)."""
        ceiling = min(self._most_s, self._first_s * 2.0 ** min(self._failures, 32))
        self._failures += 1
        share = int.from_bytes(self._clock.token_bytes(4), "big") / 2**32
        return max(ceiling * share, min(retry_after_s or 0.0, _LONGEST_RETRY_AFTER_S))

    def reset(self) -> None:
        """Forget the failures after a success."""
        self._failures = 0


async def wait_for_event(event: asyncio.Event, timeout_s: float | None) -> bool:
    """Wait until the event is set or the time is over, and clear it. True where it was set."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    event.clear()
    return True
