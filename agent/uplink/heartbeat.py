"""Sends the agent's health to the gateway, every 30 s. Silence changes no task; the gateway shows it."""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import structlog

from agent.errors import AgentError
from agent.spool.outbox import Outbox
from agent.uplink.alerts import AlertBoard
from agent.uplink.client import GatewayClient
from agent.uplink.reporter import choose_pause_s
from mltm.contract.agent_api import Heartbeat
from mltm.runtime.clock import Clock
from mltm.runtime.retry import Backoff, Sleep

__all__ = ["HeartbeatSender", "RoundStatus", "read_version"]

_MAX_PROBLEMS = 50
_log = structlog.get_logger(__name__)


def read_version() -> str:
    """This package's version, as installed."""
    try:
        return version("ml-task-manager")
    except PackageNotFoundError:
        return "unknown"


@dataclass(frozen=True)
class RoundStatus:
    """What a heartbeat says about the agent's last round: how many tasks are active, and sentences for a person."""

    active: int = 0
    problems: tuple[str, ...] = ()


class HeartbeatSender:
    """Builds and sends heartbeats. read_round: the last round's status. slurm_calls: how often Slurm was called."""

    def __init__(
        self,
        client: GatewayClient,
        outbox: Outbox,
        alerts: AlertBoard,
        clock: Clock,
        epoch: int,
        slurm_calls: Callable[[], Mapping[str, int]],
        read_round: Callable[[], RoundStatus],
    ) -> None:
        self._client = client
        self._outbox = outbox
        self._alerts = alerts
        self._clock = clock
        self._epoch = epoch
        self._slurm_calls = slurm_calls
        self._read_round = read_round

    def build(self) -> Heartbeat:
        """Build a heartbeat. Raises OSError if the outbox cannot be counted."""
        last = self._read_round()
        problems = [*self._alerts.sentences(), *last.problems]
        return Heartbeat(
            version=read_version(),
            host=socket.gethostname(),
            pid=os.getpid(),
            epoch=self._epoch,
            at=self._clock.now(),
            active_tasks=last.active,
            outbox=self._outbox.count(),
            slurm_calls=dict(self._slurm_calls()),
            problems=problems[:_MAX_PROBLEMS],
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
                self._alerts.show("gateway", str(error))
                pause_s = max(every_s, choose_pause_s(error, backoff))
            except OSError as error:
                _log.warning("heartbeat_not_built", error=str(error))
            else:
                backoff.reset()
                self._alerts.clear("gateway")
            await sleep(pause_s)
