"""File work of a request: in a thread, and an error of the disk becomes an answer that explains it."""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from gateway.errors import DiskFullError, GatewayError, UnavailableError

__all__ = ["run_on_disk", "run_to_end"]

P = ParamSpec("P")
T = TypeVar("T")
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


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


def _explain(error: OSError) -> GatewayError:
    if error.errno in _NO_ROOM:
        return DiskFullError("The gateway's disk is full. Nothing of this request was stored.")
    return UnavailableError(
        f"The gateway cannot use its disk: {error.strerror}.",
        key="disk_trouble",
        next_step="Nothing of this request was stored. Tell the gateway's administrator, and send it again later.",
    )
