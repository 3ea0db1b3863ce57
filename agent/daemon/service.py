"""The running agent: ticks in a thread of their own, and beside them the loops that talk to the gateway.

SIGTERM: take nothing new, finish the step, flush, leave within ten seconds. kill -9 at any instant costs nothing.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import structlog

from agent.daemon.tick import Tick, TickResult
from agent.daemon.tick_thread import TickThread
from agent.daemon.watcher import Watcher
from agent.errors import AgentError
from agent.settings import AgentSettings
from agent.uplink.alerts import AlertBoard
from mltm.runtime.clock import Clock
from mltm.runtime.events import wait_for_event
from mltm.runtime.retry import Backoff
from mltm.runtime.systemd import Notifier

__all__ = ["Service"]

_GATHER_S = 0.2  #: the least pause between two ticks: what comes together is one tick
# With the second that the tick's thread gets and the two that a hanging command of Slurm's takes to end: under ten.
_FLUSH_S = 2.0
_FINISH_S = 4.0
_log = structlog.get_logger(__name__)


class Service:
    """Runs until it is told to stop."""

    def __init__(
        self,
        settings: AgentSettings,
        tick: Tick,
        thread: TickThread,
        flush: Callable[[], Awaitable[None]],
        alerts: AlertBoard,
        notifier: Notifier,
        clock: Clock,
    ) -> None:
        """`flush`: sends what there is to report, before leaving."""
        self._settings = settings
        self._tick = tick
        self._thread = thread
        self._flush = flush
        self._alerts = alerts
        self._notifier = notifier
        self._backoff = Backoff(clock, first_s=2.0)
        self.last_round = TickResult(0.0, 0)  #: what the last good tick said
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None

    def wake(self) -> None:
        """Let the next tick come now. Call it in the loop's thread."""
        self._wake.set()

    def stop(self) -> None:
        """Stop taking; run() returns soon."""
        self._stopping.set()
        self._wake.set()

    async def run(self, loops: Sequence[Callable[[], Awaitable[None]]]) -> None:
        """Run until stop(), SIGTERM or SIGINT; `loops` run beside it."""
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.stop)
                stack.callback(loop.remove_signal_handler, number)
            watcher = Watcher(self._settings, lambda: _post(loop, self.wake))
            stack.callback(watcher.close)
            tasks = [asyncio.ensure_future(step()) for step in (*loops, self._watchdog)]
            for task in tasks:
                task.add_done_callback(self._see_end)
            stack.push_async_callback(_end, tasks)
            self._notifier.ready()
            _log.info("agent_started")
            await self._tick_until_stopped(watcher.refresh)
        await self._leave()
        if self._failure is not None:
            raise self._failure

    async def tick_once(self) -> TickResult | None:
        """One tick. What fails in it is logged, shown and tried again: nothing ends the agent but a person."""
        try:
            result = await self._thread.call(self._tick.run)
        except Exception as error:  # noqa: BLE001  # the one place where anything may be caught
            message = str(error) if isinstance(error, AgentError) else f"{type(error).__name__}: {error}"
            if self._alerts.show("tick", f"The agent's last round failed and is tried again: {message}"):
                _log.exception("tick_failed")
            return None
        self._alerts.clear("tick")
        self._backoff.reset()
        self.last_round = result
        return result

    def _see_end(self, task: "asyncio.Task[None]") -> None:
        """A loop that ends by a mistake of ours ends the service: whoever started it starts it again, whole."""
        if task.cancelled() or (failure := task.exception()) is None:
            return
        _log.error("loop_failed", error=f"{type(failure).__name__}: {failure}")
        self._failure = failure
        self.stop()

    async def _tick_until_stopped(self, refresh: Callable[[], None]) -> None:
        while not self._stopping.is_set():
            await asyncio.to_thread(refresh)
            ticking = asyncio.ensure_future(self.tick_once())
            stopping = asyncio.ensure_future(self._stopping.wait())
            await asyncio.wait({ticking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not ticking.done():
                await asyncio.wait({ticking}, timeout=_FINISH_S)
                ticking.cancel()
            stopping.cancel()
            if self._stopping.is_set():
                return
            result = ticking.result()
            if result is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._backoff.next_s()):
                        await self._stopping.wait()
                continue
            await self._wait(min(result.wake_after_s, self._settings.waits.rescan_s))

    async def _wait(self, pause_s: float) -> None:
        gathered = asyncio.create_task(asyncio.sleep(_GATHER_S))
        try:
            if await wait_for_event(self._wake, max(0.0, pause_s)) and not self._stopping.is_set():
                await gathered
                self._wake.clear()
        finally:
            gathered.cancel()

    async def _watchdog(self) -> None:
        """Tell systemd that the loop turns, as long as no tick is stuck for longer than Slurm's time limits allow."""
        if self._notifier.every_s is None:
            return
        slurm = self._settings.slurm
        stuck_s = 3 * max(slurm.sbatch_timeout_s, slurm.query_timeout_s)
        while self._thread.busy_s(time.monotonic()) < stuck_s:
            self._notifier.alive(f"{self.last_round.active} active tasks")
            await asyncio.sleep(self._notifier.every_s)
        _log.error("tick_stuck", for_s=stuck_s)

    async def _leave(self) -> None:
        self._notifier.stopping()
        try:
            async with asyncio.timeout(_FLUSH_S):
                await self._flush()
        except (TimeoutError, AgentError, OSError) as error:
            _log.info("reports_stay_in_outbox", error=str(error))
        _log.info("agent_stopped")


def _post(loop: asyncio.AbstractEventLoop, step: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: we are leaving
        loop.call_soon_threadsafe(step)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
