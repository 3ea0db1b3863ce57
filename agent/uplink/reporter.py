"""Sends the outbox to the gateway until it has everything. No report is lost while it is away, or refuses us."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from agent.errors import AgentError, GatewayAwayError
from agent.spool.outbox import Outbox
from agent.uplink.alerts import AlertBoard
from agent.uplink.client import GatewayClient, GatewayRefusedError
from mltm.contract.agent_api import BATCH_BYTES, MAX_REPORTS, ReportBatch, ReportOutcome
from mltm.contract.reports import Report
from mltm.runtime.clock import Clock
from mltm.runtime.events import wait_for_event
from mltm.runtime.retry import Backoff, Sleep

__all__ = ["REVOKED_WAIT_S", "Reporter", "choose_pause_s"]

REVOKED_WAIT_S = 60.0
_RESCAN_S = 30.0  #: reports of another process on this spool are found without a signal
_log = structlog.get_logger(__name__)
TellAgain = Callable[[Sequence[str]], Awaitable[None]]


def choose_pause_s(error: AgentError, backoff: Backoff) -> float:
    """Choose how long to wait after a failed call: a fixed long time if only a person can help, else a back-off."""
    if isinstance(error, GatewayAwayError):
        return backoff.next_s(error.retry_after_s)
    return REVOKED_WAIT_S


class Reporter:
    """The loop that empties the outbox."""

    def __init__(
        self,
        outbox: Outbox,
        client: GatewayClient,
        alerts: AlertBoard,
        clock: Clock,
        *,
        news: asyncio.Event,
        tell_again: TellAgain,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """news: set when a report was put into the outbox. tell_again: reports tasks that the gateway does not know."""
        self._outbox = outbox
        self._client = client
        self._alerts = alerts
        self._sleep = sleep
        self._backoff = Backoff(clock)
        self._news = news
        self._max_reports = MAX_REPORTS
        self._unknown: dict[str, list[Report]] = {}  #: by task: reports that wait until the gateway knows the task
        self._told_again: set[str] = set()
        self._tell_tasks = tell_again

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
            except OSError as error:  # the outbox's folder is away
                self._alerts.show("outbox", f"Cannot read the outbox: {error}.")
                await self._sleep(self._backoff.next_s())
                continue
            self._backoff.reset()
            if not sent:
                await wait_for_event(self._news, _RESCAN_S)

    async def flush(self) -> None:
        """Send everything that waits. Raises AgentError, OSError."""
        while await self.send_batch():
            pass

    async def send_batch(self) -> int:
        """Send the oldest reports; returns how many are done for now. Raises AgentError (also an alert), OSError."""
        batch = await asyncio.to_thread(self._read_batch)
        if not batch:
            return await self._tell_unknown()
        try:
            answer = await self._client.send_reports(ReportBatch(reports=batch))
        except AgentError as error:
            if isinstance(error, GatewayRefusedError) and _is_about_content(error):
                return await asyncio.to_thread(self._shrink, error, batch)
            self._alerts.show("reports", str(error))
            raise
        self._alerts.clear("reports")
        self._max_reports = MAX_REPORTS
        return await asyncio.to_thread(self._apply_outcomes, batch, answer.outcomes)

    def _read_batch(self) -> list[Report]:
        waiting = [report for reports in self._unknown.values() for report in reports]
        batch = self._outbox.read_oldest(self._max_reports, without=waiting, max_bytes=BATCH_BYTES)
        self._show_set_aside()
        self._alerts.clear("outbox")
        return batch

    def _show_set_aside(self) -> None:
        """Alert until a person has moved them away, also after a restart."""
        names = self._outbox.list_set_aside()
        if not names:
            self._alerts.clear("bad")
            return
        self._alerts.show(
            "bad",
            f"The gateway refused {len(names)} reports. They are in the spool's bad folder, with the reasons beside "
            f"them. The last one is {names[-1]}. Move them away when you have read them.",
        )

    def _shrink(self, error: GatewayRefusedError, batch: list[Report]) -> int:
        """Halve a batch that was refused (413, 422), until the one report that is wrong is alone."""
        if len(batch) > 1:
            self._max_reports = len(batch) // 2
            return len(batch)
        return int(self._outbox.set_aside(batch[0], str(error)))

    def _apply_outcomes(self, batch: list[Report], outcomes: list[ReportOutcome]) -> int:
        """Remove what the gateway has, and set aside what it will never take. A report without an outcome stays."""
        by_identity = {(report.epoch, report.seq): report for report in batch}
        done = 0
        for outcome in outcomes:
            report = by_identity.pop((outcome.epoch, outcome.seq), None)
            if report is not None:
                done += self._apply_outcome(report, outcome)
        _log.info("reports_sent", sent=len(batch), done=done)
        return done

    def _apply_outcome(self, report: Report, outcome: ReportOutcome) -> bool:
        match outcome.outcome:
            case "taken" | "known":
                self._outbox.remove([report])
                if self._unknown.pop(report.task_id, None):
                    _log.info("task_known_again", task_id=report.task_id)
                return True
            case "unknown_task":
                self._unknown.setdefault(report.task_id, []).append(report)
                return True
            case "conflict" | "refused":
                return self._outbox.set_aside(report, f"The gateway answered {outcome.outcome}: {outcome.message}")

    async def _tell_unknown(self) -> int:
        """Report tasks that the gateway does not know with their configs, once; returns how many."""
        new = [task_id for task_id in self._unknown if task_id not in self._told_again]
        if new:
            await self._tell_tasks(new)
            self._told_again.update(new)
            return len(new)
        if self._unknown:
            self._alerts.show(
                "unknown tasks",
                f"The gateway does not know {len(self._unknown)} tasks of this spool, and their reports wait. If its "
                "database was restored from a backup, run `mltm-gateway restored` there.",
            )
        else:
            self._alerts.clear("unknown tasks")
        return 0


def _is_about_content(error: GatewayRefusedError) -> bool:
    """True if fewer reports may pass. Only the gateway judges their content; a proxy may find them too large."""
    return error.status == 413 or (error.status in {400, 422} and error.is_judged)
