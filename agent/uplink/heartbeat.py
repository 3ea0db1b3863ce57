"""The agent's health, told every 30 s. Silence changes no task; the gateway shows it."""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version

import structlog

from agent.errors import AgentError
from agent.spool.outbox import Outbox
from agent.uplink.alerts import ProblemBoard
from agent.uplink.client import GatewayClient
from agent.uplink.reporter import choose_pause_s
from mltm.contract.agent_api import Heartbeat
from mltm.runtime.clock import Clock
from mltm.runtime.retry import Backoff, Sleep

__all__ = ["Pulse", "read_version"]

_MOST_PROBLEMS = 50
_log = structlog.get_logger(__name__)


def read_version() -> str:
    """This package's version, as installed."""
    try:
        return version("ml-task-manager")
    except PackageNotFoundError:
        return "unknown"


class Pulse:
    """Builds and sends heartbeats. `active_tasks` and `tick_problems` are set after each tick."""

    def __init__(
        self,
        client: GatewayClient,
        outbox: Outbox,
        board: ProblemBoard,
        clock: Clock,
        epoch: int,
        slurm_calls: Callable[[], Mapping[str, int]],
    ) -> None:
        self._client = client
        self._outbox = outbox
        self._board = board
        self._clock = clock
        self._epoch = epoch
        self._slurm_calls = slurm_calls
        self.active_tasks = 0
        self.tick_problems: tuple[str, ...] = ()

    def build(self) -> Heartbeat:
        """Say how things are. Raises OSError where the outbox cannot be counted."""
        problems = [*self._board.sentences(), *self.tick_problems]
        return Heartbeat(
            version=read_version(),
            host=socket.gethostname(),
            pid=os.getpid(),
            epoch=self._epoch,
            at=self._clock.now(),
            active_tasks=self.active_tasks,
            outbox=self._outbox.count(),
            slurm_calls=dict(self._slurm_calls()),
            problems=problems[:_MOST_PROBLEMS],
        )

    async def run(self, every_s: float, *, sleep: Sleep = asyncio.sleep) -> None:
        """Send for ever; ends by cancellation. The reporter shows that the gateway is away; here it is only logged."""
        backoff = Backoff(self._clock)
        while True:
            pause_s = every_s
            try:
                await self._client.send_heartbeat(await asyncio.to_thread(self.build))
            except AgentError as error:
                _log.info("heartbeat_not_sent", error=str(error))
                self._board.show("gateway", str(error))
                pause_s = max(every_s, choose_pause_s(error, backoff))
            except OSError as error:
                _log.warning("heartbeat_not_built", error=str(error))
            else:
                backoff.reset()
                self._board.clear("gateway")
            await sleep(pause_s)
