"""When to try again, and when to stop: pure but for the three functions it is given."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

__all__ = ["Patience", "Trial", "next_trial", "parse_retry_after"]

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 10.0
SHORTEST_DELAY_S = 0.05


@dataclass(frozen=True)
class Patience:
    """How long a request is repeated after its first failure; `waiting_s` is for those that watch a running task."""

    request_s: float = 30.0
    waiting_s: float = 600.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random


@dataclass(frozen=True)
class Trial:
    """Where a repeated request stands: when it failed first, how often, and how long to wait now."""

    first_failed_at: float
    failures: int
    delay_s: float


def next_trial(before: Trial | None, patience: Patience, limit_s: float, retry_after_s: float | None) -> Trial | None:
    """Decide on another try; None where the next one would lie beyond the limit. Full jitter, Retry-After obeyed."""
    now = patience.clock()
    trial = Trial(now, 1, 0.0) if before is None else replace(before, failures=before.failures + 1)
    ceiling = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** (trial.failures - 1))
    delay = retry_after_s if retry_after_s is not None else max(SHORTEST_DELAY_S, patience.jitter() * ceiling)
    if now + delay > trial.first_failed_at + limit_s:
        return None
    return replace(trial, delay_s=delay)


def parse_retry_after(text: str | None) -> float | None:
    """Read Retry-After in seconds; None where it is missing or a date (clocks of two hosts are not compared)."""
    return float(text) if text is not None and text.strip().isdecimal() else None
