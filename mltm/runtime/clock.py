"""Time and chance, as values that are passed in: decisions take `now`, tests pass their own."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mltm.contract.ids import TaskId, build_uuid7

__all__ = ["Clock", "read_boot_id"]


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _boot_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Clock:
    """`now`: for display only. `boot_s`: seconds since this host's boot, for every wait; a restarted agent goes on."""

    now: Callable[[], datetime] = _utc_now
    boot_s: Callable[[], float] = _boot_s
    token_bytes: Callable[[int], bytes] = secrets.token_bytes

    def nonce(self) -> str:
        """128 random bits as hex."""
        return self.token_bytes(16).hex()

    def new_task_id(self) -> TaskId:
        """An id for a dropped task."""
        return TaskId(build_uuid7(int(self.now().timestamp() * 1000), self.token_bytes(10)))


def read_boot_id() -> str:
    """This boot's id: observations made on another boot count for nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
