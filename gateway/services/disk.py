"""File work of a request: in a thread, and what the disk refuses is said in words instead of as a failure of ours."""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from gateway.errors import DiskFullError, GatewayError, UnavailableError

__all__ = ["finish", "on_disk"]

P = ParamSpec("P")
T = TypeVar("T")
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


async def finish(work: Awaitable[T]) -> T:
    """Await `work`; cancelled meanwhile, wait for its end all the same, and be cancelled then.

    A thread goes on when its await is cancelled: what it uses may not be closed or deleted under it, and what it
    makes is still to be taken away.
    """
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.gather(running, return_exceptions=True)
        raise


async def on_disk(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work` in a thread, to its end. Raises DiskFullError, UnavailableError (disk_trouble) in place of OSError."""
    try:
        return await finish(asyncio.to_thread(work, *args, **kwargs))
    except OSError as error:
        raise _explain(error) from error


def _explain(error: OSError) -> GatewayError:
    if error.errno in _NO_ROOM:
        return DiskFullError("The gateway's disk is full; nothing of this request was kept.")
    return UnavailableError(
        f"The gateway cannot use its disk: {error.strerror}.",
        key="disk_trouble",
        next_step="Nothing of this request was kept. Tell the gateway's administrator, and send it again later.",
    )
