"""File work of a request: in a thread, and an error of the disk becomes an answer that explains it."""

import asyncio
import contextlib
import errno
import shutil
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from gateway.errors import DiskFullError, GatewayError, UnavailableError

__all__ = ["UploadRoom", "is_disk_full", "run_on_disk", "run_to_end"]

P = ParamSpec("P")
T = TypeVar("T")
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class UploadRoom:
    """Keeps `min_free_bytes` of the disk free while uploads come, however many there are at once.

    Threads use it. What others are about to write counts as written, so together they stay within the room, too.
    """

    def __init__(self, folder: Path, min_free_bytes: int) -> None:
        self._folder, self._min_free_bytes = folder, min_free_bytes
        self._lock, self._pending = threading.Lock(), 0

    @contextlib.contextmanager
    def take(self, size: int) -> Iterator[None]:
        """Have room for these bytes while they are written. Raises DiskFullError, OSError."""
        with self._lock:
            if shutil.disk_usage(self._folder).free - self._pending - size < self._min_free_bytes:
                raise DiskFullError(
                    f"The gateway's disk is nearly full (less than {self._min_free_bytes:,} bytes would stay free); "
                    "nothing of this request was stored."
                )
            self._pending += size
        try:
            yield
        finally:
            with self._lock:
                self._pending -= size


async def run_to_end(work: Awaitable[T]) -> T:
    """Await `work`. If we are cancelled meanwhile, wait for its end first.

    A thread continues after its await is cancelled: nobody may close or delete what it uses, and what it makes must
    still be removed.
    """
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.gather(running, return_exceptions=True)
        raise


async def run_on_disk(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work` in a thread, to its end. Raises DiskFullError, UnavailableError (disk_trouble) in place of OSError."""
    try:
        return await run_to_end(asyncio.to_thread(work, *args, **kwargs))
    except OSError as error:
        raise _explain(error) from error


def is_disk_full(error: BaseException) -> bool:
    """True if the system said that there is no room, or no quota."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


def _explain(error: OSError) -> GatewayError:
    if is_disk_full(error):
        return DiskFullError("The gateway's disk is full. Nothing of this request was stored.")
    return UnavailableError(
        f"The gateway cannot use its disk: {error.strerror}.",
        key="disk_trouble",
        next_step="Nothing of this request was stored. Tell the gateway's administrator, and send it again later.",
    )
