"""Sends the outbox to the gateway until it has everything. Nothing is lost while it is away or does not accept us."""

import asyncio

import structlog

from agent.backoff import Backoff, Sleep, wait_for_event
from agent.clock import Clock
from agent.errors import AgentError, GatewayAwayError, RevokedError, SettingsError
from agent.gateway_client import GatewayClient, GatewayRefusedError
from agent.outbox import Outbox
from agent.problems import ProblemBoard
from mltm.contract.agent_api import MAX_REPORTS, ReportBatch, ReportOutcome
from mltm.contract.reports import Report

__all__ = ["REVOKED_WAIT_S", "Reporter", "choose_pause_s"]

REVOKED_WAIT_S = 60.0
_LOOK_AGAIN_S = 30.0  #: events that another process of this spool left are found without being told
_log = structlog.get_logger(__name__)


def choose_pause_s(error: AgentError, backoff: Backoff) -> float:
    """How long to wait after a failed call: slowly where only a person can help, jittered elsewhere."""
    if isinstance(error, GatewayAwayError):
        return backoff.next_s(error.retry_after_s)
    return REVOKED_WAIT_S


class Reporter:
    """The loop that empties the outbox."""

    def __init__(
        self, outbox: Outbox, client: GatewayClient, board: ProblemBoard, clock: Clock, *, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._outbox = outbox
        self._client = client
        self._board = board
        self._sleep = sleep
        self._backoff = Backoff(clock)
        self._wake = asyncio.Event()
        self._most = MAX_REPORTS

    def wake(self) -> None:
        """Something was put into the outbox. Call it in the loop's thread."""
        self._wake.set()

    async def run(self) -> None:
        """Send for ever; ends by cancellation."""
        while True:
            try:
                sent = await self.send_batch()
            except AgentError as error:
                pause_s = choose_pause_s(error, self._backoff)
                _log.warning("reports_wait", error=str(error), again_in_s=round(pause_s, 1))
                await self._sleep(pause_s)
                continue
            except OSError as error:  # the outbox's own folder is away
                self._board.show("outbox", f"The outbox cannot be read: {error}.")
                await self._sleep(self._backoff.next_s())
                continue
            self._backoff.reset()
            if not sent:
                await wait_for_event(self._wake, _LOOK_AGAIN_S)

    async def flush(self) -> None:
        """Send what is there, once. Raises what send_batch raises."""
        while await self.send_batch():
            pass

    async def send_batch(self) -> int:
        """Send the oldest events; how many the gateway has settled. Raises AgentError (shown as a problem), OSError."""
        batch = await asyncio.to_thread(self._outbox.pending, self._most)
        self._board.clear("outbox")
        if not batch:
            return 0
        try:
            answer = await self._client.send_reports(ReportBatch(reports=batch))
        except GatewayRefusedError as error:
            if self._shrink(error, batch):
                return len(batch)
            self._show(error)
            raise
        except (GatewayAwayError, RevokedError, SettingsError) as error:
            self._show(error)
            raise
        self._board.clear("gateway")
        self._most = MAX_REPORTS
        return await asyncio.to_thread(self._settle, batch, answer.outcomes)

    def _show(self, error: AgentError) -> None:
        self._board.show("gateway", str(error))

    def _shrink(self, error: GatewayRefusedError, batch: list[Report]) -> bool:
        """A batch that is refused as a whole (413, 422) is halved, until the one event that is wrong stands alone."""
        if error.status not in {400, 413, 422}:
            return False
        if len(batch) > 1:
            self._most = len(batch) // 2
            return True
        self._set_aside(batch[0], str(error))
        return True

    def _settle(self, batch: list[Report], outcomes: list[ReportOutcome]) -> int:
        """Remove what the gateway has, set aside what it will never take. An event without an outcome stays."""
        by_identity = {(report.epoch, report.seq): report for report in batch}
        settled = 0
        for outcome in outcomes:
            report = by_identity.pop((outcome.epoch, outcome.seq), None)
            if report is None:
                continue
            settled += 1
            if outcome.outcome in {"taken", "known"}:
                self._outbox.remove([report])
            else:
                self._set_aside(report, f"The gateway answered {outcome.outcome}: {outcome.words}")
        _log.info("reports_sent", sent=len(batch), settled=settled)
        return settled

    def _set_aside(self, report: Report, words: str) -> None:
        self._outbox.set_aside(report, words)
        self._board.show(
            f"report {report.epoch}-{report.seq}",
            f"A report of task {report.task_id} was not taken and lies in the spool's bad folder. {words}",
        )
