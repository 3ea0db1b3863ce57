"""Puts the running agent together from its settings: the only place that knows all its parts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from agent.daemon.service import Service
from agent.daemon.tick import Tick
from agent.daemon.tick_thread import TickThread
from agent.settings import AgentSettings
from agent.slurm.client import Slurm
from agent.spool.gateway_binding import check_gateway
from agent.spool.last_reports import report_again, reports_again
from agent.spool.outbox import Outbox, ReportDraft
from agent.spool.setup import prepare_spool
from agent.uplink.address import build_tls
from agent.uplink.alerts import ProblemBoard
from agent.uplink.client import GatewayClient, open_session
from agent.uplink.command_poller import Poller
from agent.uplink.credential import read_credential
from agent.uplink.generation import GenerationWatch
from agent.uplink.heartbeat import Pulse
from agent.uplink.reporter import Reporter
from mltm.contract.ids import TaskId
from mltm.contract.spool_layout import Spool
from mltm.runtime.clock import Clock
from mltm.runtime.systemd import Notifier

__all__ = ["Parts", "assemble"]


@dataclass(frozen=True)
class Parts:
    """What the command line drives."""

    service: Service
    poller: Poller
    reporter: Reporter
    outbox: Outbox
    board: ProblemBoard


@dataclass(frozen=True)
class _TellAgain:
    """Puts reports of known tasks into the outbox once more, between two ticks: none is older than one before it."""

    spool: Spool
    outbox: Outbox
    thread: TickThread

    async def tell(self, tasks: Sequence[str]) -> None:
        """Report these tasks with their configs."""
        await self.thread.call(lambda: self._put(report_again(self.spool, TaskId(task)) for task in tasks))

    async def tell_all(self) -> None:
        """Report everything."""
        await self.thread.call(lambda: self._put(reports_again(self.spool)))

    def _put(self, drafts: Iterable[ReportDraft | None]) -> None:
        for draft in drafts:
            if draft is not None:
                self.outbox.put(draft)


@contextlib.asynccontextmanager
async def assemble(settings: AgentSettings, environment: Mapping[str, str]) -> AsyncIterator[Parts]:
    """Build the agent. Raises SettingsError, SpoolError where it cannot start."""
    clock, board = Clock(), ProblemBoard()
    credential = read_credential(settings.credential_file)
    identity = prepare_spool(settings, clock)
    check_gateway(identity.spool, credential)
    outbox = Outbox(identity.spool.outbox, identity.spool_id, identity.epoch, clock)
    async with AsyncExitStack() as stack:
        slurm = Slurm(settings.slurm, environment, clock)
        stack.callback(slurm.close)
        thread = TickThread()
        stack.callback(thread.close)
        session = await stack.enter_async_context(open_session())
        client = GatewayClient(session, settings, tls=build_tls(settings.ca_file))
        reporter = Reporter(outbox, client, board, clock)
        outbox.on_put = partial(asyncio.get_running_loop().call_soon_threadsafe, reporter.wake)
        again = _TellAgain(identity.spool, outbox, thread)
        reporter.tell_again = again.tell
        watch = GenerationWatch(identity.spool.generation, again.tell_all, board, clock)
        client.heed_generation = watch.heed
        pulse = Pulse(client, outbox, board, clock, identity.epoch, lambda: slurm.calls)
        tick = Tick(settings, identity.spool, slurm, outbox, clock, identity)
        notifier = Notifier(environment)
        stack.callback(notifier.close)
        service = Service(settings, tick, thread, reporter, pulse, board, notifier, clock)
        yield Parts(service, Poller(identity.spool, client, clock, service.wake), reporter, outbox, board)
