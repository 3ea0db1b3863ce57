"""How long one caller waits before his next try: with full jitter, so that agents do not all come back at once."""

from collections.abc import Awaitable, Callable

from mltm.contract.retry_delay import exponential_delay_s
from mltm.runtime.clock import Clock

__all__ = ["Backoff", "Sleep"]

Sleep = Callable[[float], Awaitable[None]]
_MAX_RETRY_AFTER_S = 3600.0


class Backoff:
    """Delays of one caller: uniform between 0 and a ceiling that doubles from `first_s` to `max_s`."""

    def __init__(self, clock: Clock, *, first_s: float = 1.0, max_s: float = 60.0) -> None:
        self._clock = clock
        self._first_s = first_s
        self._max_s = max_s
        self._failures = 0

    def next_s(self, retry_after_s: float | None = None) -> float:
        """Count a failure and say how long to wait; never shorter than the server's Retry-After (at most an hour)."""
        ceiling = exponential_delay_s(self._failures, self._first_s, self._max_s)
        self._failures += 1
        share = int.from_bytes(self._clock.token_bytes(4), "big") / 2**32
        return max(ceiling * share, min(retry_after_s or 0.0, _MAX_RETRY_AFTER_S))

    def reset(self) -> None:
        """Forget the failures after a success."""
        self._failures = 0
