"""When to try a request again, and when to stop. Pure but for the three functions that it is given."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

__all__ = ["RetryPolicy", "RetryState", "next_retry", "parse_retry_after"]

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 10.0
SHORTEST_DELAY_S = 0.05


@dataclass(frozen=True)
class RetryPolicy:
    """How long a request is repeated after its first failure. `waiting_s`: a request that watches a running task."""

    request_s: float = 30.0
    waiting_s: float = 600.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random


@dataclass(frozen=True)
class RetryState:
    """The failures of one request so far: when the first was, how many there were, how long to wait now."""

    first_failed_at: float
    failures: int
    delay_s: float


def next_retry(
    before: RetryState | None, policy: RetryPolicy, limit_s: float, retry_after_s: float | None
) -> RetryState | None:
    """Decide on another try. None: it would be later than the limit. The delay has full jitter, or is Retry-After."""
    now = policy.clock()
    retry = RetryState(now, 1, 0.0) if before is None else replace(before, failures=before.failures + 1)
    ceiling = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** (retry.failures - 1))
    delay = retry_after_s if retry_after_s is not None else max(SHORTEST_DELAY_S, policy.jitter() * ceiling)
    if now + delay > retry.first_failed_at + limit_s:
        return None
    return replace(retry, delay_s=delay)


def parse_retry_after(text: str | None) -> float | None:
    """Read Retry-After in seconds. None: it is missing or a date (clocks of two hosts are not compared)."""
    return float(text) if text is not None and text.strip().isdecimal() else None
