"""Rate limits: how often Slurm is called, and how many calls run at once.

A lane has its own token bucket and its own threads, so that an sbatch that hangs never delays squeue.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from agent.settings import Bucket

__all__ = ["SLOW_FOR_S", "Lane", "TokenBucket"]

SLOW_FOR_S = 600.0
_T = TypeVar("_T")


class TokenBucket:
    """At most `burst` calls at once and `per_second` on average; half of both for a while after `slow_down`.

    boot_s: the clock, in seconds.
    """

    def __init__(self, limits: Bucket, boot_s: Callable[[], float]) -> None:
        self._limits = limits
        self._boot_s = boot_s
        self._lock = threading.Lock()
        self._tokens = float(limits.burst)
        self._filled_at_s = boot_s()
        self._slow_until_s = self._filled_at_s

    def take(self, *, spare: int = 0) -> bool:
        """Take a token; False if there is none now, or if fewer than `spare` would be left."""
        with self._lock:
            self._fill()
            if self._tokens < 1 + spare:
                return False
            self._tokens -= 1
            return True

    def slow_down(self) -> None:
        """Halve the limits for ten minutes from now: Slurm said that its rate limit was exceeded."""
        with self._lock:
            self._fill()
            self._slow_until_s = self._boot_s() + SLOW_FOR_S
            self._tokens = min(self._tokens, self._max_tokens(is_slow=True))

    def _fill(self) -> None:
        now_s = self._boot_s()
        slow_s = max(0.0, min(now_s, self._slow_until_s) - self._filled_at_s)
        for is_slow, passed_s in ((True, slow_s), (False, max(0.0, now_s - self._filled_at_s - slow_s))):
            if passed_s:
                rate = self._limits.per_second / (2 if is_slow else 1)
                self._tokens = min(self._max_tokens(is_slow=is_slow), self._tokens + passed_s * rate)
        self._filled_at_s = max(now_s, self._filled_at_s)

    def _max_tokens(self, *, is_slow: bool) -> float:
        return max(1.0, self._limits.burst / 2) if is_slow else float(self._limits.burst)


class Lane:
    """One bucket and its threads."""

    def __init__(self, name: str, bucket: TokenBucket, threads: int) -> None:
        self.bucket = bucket
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=f"slurm-{name}")

    def start(self, call: Callable[[], _T], *, spare: int = 0) -> "Future[_T] | None":
        """Start a call in the lane; None if the bucket has no token now, or fewer than `spare` beside it."""
        return self._pool.submit(call) if self.bucket.take(spare=spare) else None

    def close(self) -> None:
        """Accept no more calls, and cancel those that have not begun."""
        self._pool.shutdown(wait=True, cancel_futures=True)
