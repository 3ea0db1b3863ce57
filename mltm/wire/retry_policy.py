"""When to try a request again, and when to stop. Pure but for the three functions that it is given."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mltm.contract.retry_delay import exponential_delay_s

__all__ = ["Retry", "RetryPolicy", "parse_retry_after", "plan_retry"]

FIRST_DELAY_S = 0.5
MAX_DELAY_S = 10.0
MIN_DELAY_S = 0.05


@dataclass(frozen=True)
class RetryPolicy:
    """How long a request is repeated after its first failure. `waiting_s`: a request that watches a running task."""

    request_s: float = 30.0
    waiting_s: float = 600.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random


@dataclass(frozen=True)
class Retry:
    """The failures of one request so far: when the first was, how many there were, how long to wait now."""

    first_failed_at: float
    failures: int
    delay_s: float


def plan_retry(before: Retry | None, policy: RetryPolicy, limit_s: float, retry_after_s: float | None) -> Retry | None:
    """Decide on another try; None if it would come later than the limit. Full jitter, Retry-After obeyed."""
    now = policy.clock()
    first_failed_at, failures = (now, 0) if before is None else (before.first_failed_at, before.failures)
    ceiling = exponential_delay_s(failures, FIRST_DELAY_S, MAX_DELAY_S)
    delay_s = retry_after_s if retry_after_s is not None else max(MIN_DELAY_S, policy.jitter() * ceiling)
    if now + delay_s > first_failed_at + limit_s:
        return None
    return Retry(first_failed_at, failures + 1, delay_s)


def parse_retry_after(text: str | None) -> float | None:
    """Read Retry-After in seconds. None: it is missing or a date (clocks of two hosts are not compared)."""
    stripped = (text or "").strip()
    return float(stripped) if stripped.isascii() and stripped.isdecimal() else None
