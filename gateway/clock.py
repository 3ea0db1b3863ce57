"""Time, ids and randomness, passed in everywhere so that tests own them."""

import os
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from mltm.contract.ids import TaskId, build_uuid7

__all__ = ["Clock"]


@dataclass(frozen=True)
class Clock:
    """The system's clock and randomness; a test subclasses it."""

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        return time.monotonic()

    def new_id(self) -> TaskId:
        """A new UUID version 7 as hex."""
        return TaskId(build_uuid7(int(self.now().timestamp() * 1000), os.urandom(10)))

    def new_secret(self, prefix: str) -> str:
        """A new secret: 256 random bits behind a prefix that tells what it is."""
        return prefix + secrets.token_urlsafe(32)
