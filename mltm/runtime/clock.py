"""Time and chance, as values that are passed in: decisions take `now`, tests pass their own."""

import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mltm.contract.ids import TaskId, build_uuid7

__all__ = ["Clock", "read_boot_id", "read_utc_now"]


def read_utc_now() -> datetime:
    """This host's time, aware, in UTC."""
    return datetime.now(UTC)


def _read_boot_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Clock:
    """A host's clocks and randomness. A test passes functions of its own.

    now: aware, in UTC; two hosts' are never compared. boot_s: seconds since this host's boot, for every wait; it only
    goes forward, and a restarted process goes on with it. token_bytes: so many random bytes, fit for secrets.
    """

    now: Callable[[], datetime] = read_utc_now
    boot_s: Callable[[], float] = _read_boot_s
    token_bytes: Callable[[int], bytes] = secrets.token_bytes

    def nonce(self) -> str:
        """128 random bits as hex."""
        return self.token_bytes(16).hex()

    def new_id(self) -> TaskId:
        """A new id: a UUID version 7 as hex."""
        return TaskId(build_uuid7(int(self.now().timestamp() * 1000), self.token_bytes(10)))

    def new_secret(self, prefix: str) -> str:
        """A new secret: 256 random bits behind a prefix that tells what it is."""
        return prefix + urlsafe_b64encode(self.token_bytes(32)).rstrip(b"=").decode()


def read_boot_id() -> str:
    """This boot's id: observations made on another boot count for nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
