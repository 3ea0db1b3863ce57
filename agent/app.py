"""Puts the running agent together from its settings: the only place that knows all its parts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import structlog

from agent.daemon.service import Service
from agent.daemon.tick import Tick
from agent.daemon.tick_thread import TickThread
from agent.job.isolation import NO_CONTAINER, check_isolation
from agent.protocol.task_report import ReportDraft
from agent.settings import AgentSettings
from agent.slurm.client import Slurm
from agent.spool.gateway_binding import check_gateway
from agent.spool.last_reports import read_last_report, read_last_reports
from agent.spool.outbox import Outbox
from agent.spool.setup import prepare_spool
from agent.uplink.address import build_tls
from agent.uplink.alerts import AlertBoard
from agent.uplink.client import GatewayClient, open_session
from agent.uplink.command_gate import CommandGate
from agent.uplink.command_poller import CommandPoller
from agent.uplink.credential import read_credential
from agent.uplink.generation import GenerationWatch
from agent.uplink.heartbeat import HeartbeatSender, RoundStatus
from agent.uplink.reporter import Reporter
from mltm.contract.ids import TaskId
from mltm.contract.spool_layout import Spool
from mltm.runtime.clock import Clock
from mltm.runtime.systemd import Notifier

__all__ = ["Parts", "assemble"]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Parts:
    """What the command line drives. loops: what runs beside the service, for as long as it does."""

    service: Service
    loops: tuple[Callable[[], Awaitable[None]], ...]
    reporter: Reporter
    poller: CommandPoller
    outbox: Outbox
    alerts: AlertBoard


@dataclass(frozen=True)
class _TellAgain:
    """Puts reports of known tasks into the outbox once more, between two ticks: none is older than one before it."""

    spool: Spool
    outbox: Outbox
    thread: TickThread

    async def tell(self, tasks: Sequence[str]) -> None:
        """Report these tasks with their configs."""
        await self.thread.call(lambda: self._put(read_last_report(self.spool, TaskId(task)) for task in tasks))

    async def tell_all(self) -> None:
        """Report everything."""
        await self.thread.call(lambda: self._put(read_last_reports(self.spool)))

    def _put(self, drafts: Iterable[ReportDraft | None]) -> None:
        for draft in drafts:
            if draft is not None:
                self.outbox.put(draft)


@contextlib.asynccontextmanager
async def assemble(settings: AgentSettings, environment: Mapping[str, str]) -> AsyncIterator[Parts]:
    """Build the agent. Raises SettingsError, SpoolError if it cannot start."""
    clock, alerts, news = Clock(), AlertBoard(), asyncio.Event()
    credential = read_credential(settings.credential_file)
    check_isolation(settings, environment, is_shared=not credential.owner)
    if settings.runtime == "none":
        _say_without_container(alerts, is_shared=not credential.owner)
    identity = prepare_spool(settings, clock)
    spool = identity.spool
    check_gateway(spool, credential)
    on_put = partial(asyncio.get_running_loop().call_soon_threadsafe, news.set)
    outbox = Outbox(spool.outbox, identity.spool_id, identity.epoch, clock, on_put=on_put)
    async with AsyncExitStack() as stack:
        slurm = Slurm(settings.slurm, environment, clock)
        stack.callback(slurm.close)
        thread, notifier = TickThread(), Notifier(environment)
        stack.callback(thread.close)
        stack.callback(notifier.close)
        session = await stack.enter_async_context(open_session())
        again = _TellAgain(spool, outbox, thread)
        watch = GenerationWatch(spool.generation, again.tell_all, alerts, clock)
        client = GatewayClient(session, settings, tls=build_tls(settings.ca_file), on_generation=watch.compare)
        reporter = Reporter(outbox, client, alerts, clock, news=news, tell_again=again.tell)
        gate = CommandGate(clock)
        tick = Tick(settings, spool, slurm, outbox, clock, identity, may_open=gate.is_open)
        service = Service(settings, tick, thread, reporter.flush, alerts, notifier, clock)
        sender = HeartbeatSender(
            client, outbox, alerts, clock, identity.epoch, lambda: slurm.calls,
            lambda: RoundStatus(service.last_round.active, service.last_round.problems),
        )  # fmt: skip
        poller = CommandPoller(spool, client, clock, service.wake, gate)
        loops = (reporter.run, partial(sender.run, settings.waits.heartbeat_s), poller.run)
        yield Parts(service, loops, reporter, poller, outbox, alerts)


def _say_without_container(alerts: AlertBoard, *, is_shared: bool) -> None:
    _log.warning("runs_without_container", message=NO_CONTAINER, is_shared=is_shared)
    if is_shared:
        alerts.show("container", f"This agent runs the tasks of all users without a container. {NO_CONTAINER}")
