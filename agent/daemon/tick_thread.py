"""The one thread that ticks run in. A daemon: a tick that hangs in a dead file system must not keep us from leaving."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

__all__ = ["TickThread"]

_T = TypeVar("_T")


class TickThread:
    """Runs blocking calls one after another."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._began_s: float | None = None
        self._thread = threading.Thread(target=self._work, name="tick", daemon=True)
        self._thread.start()

    async def call(self, step: Callable[[], _T]) -> _T:
        """Run a step in the thread, after those that wait there. Raises what it raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()

        def work() -> None:
            try:
                result = step()
            except Exception as error:  # noqa: BLE001  # carried to the caller, whole
                _post(loop, future, partial(future.set_exception, error))
            else:
                _post(loop, future, partial(future.set_result, result))

        self._calls.put(work)
        return await future

    def busy_s(self, now_s: float) -> float:
        """For how long the step that runs now has been running (monotonic clock); 0 while idle."""
        began_s = self._began_s
        return 0.0 if began_s is None else now_s - began_s

    def close(self, timeout_s: float = 1.0) -> bool:
        """End the thread after its step; False where that still runs."""
        self._calls.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (step := self._calls.get()) is not None:
            self._began_s = time.monotonic()
            step()
            self._began_s = None


def _post(loop: asyncio.AbstractEventLoop, future: "asyncio.Future[Any]", settle: Callable[[], None]) -> None:
    """Settle in the loop's thread, unless nobody waits any more."""

    def step() -> None:
        if not future.done():
            settle()

    if not loop.is_closed():
        loop.call_soon_threadsafe(step)
