"""Sends the outbox to the gateway until it has everything. Nothing is lost while it is away or does not accept us."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from agent.errors import AgentError, GatewayAwayError
from agent.spool.outbox import Outbox
from agent.uplink.alerts import AlertBoard
from agent.uplink.client import GatewayClient, GatewayRefusedError
from mltm.contract.agent_api import MAX_REPORTS, ReportBatch, ReportOutcome
from mltm.contract.reports import Report
from mltm.runtime.clock import Clock
from mltm.runtime.events import wait_for_event
from mltm.runtime.retry import Backoff, Sleep

__all__ = ["REVOKED_WAIT_S", "Reporter", "choose_pause_s"]

REVOKED_WAIT_S = 60.0
_LOOK_AGAIN_S = 30.0  #: events that another process of this spool left are found without being told
_log = structlog.get_logger(__name__)
TellAgain = Callable[[Sequence[str]], Awaitable[None]]


def choose_pause_s(error: AgentError, backoff: Backoff) -> float:
    """How long to wait after a failed call: slowly where only a person can help, jittered elsewhere."""
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
        """`news`: set when something was put into the outbox. `tell_again`: of tasks the gateway does not know."""
        self._outbox = outbox
        self._client = client
        self._alerts = alerts
        self._sleep = sleep
        self._backoff = Backoff(clock)
        self._news = news
        self._max_reports = MAX_REPORTS
        self._unknown: dict[str, list[Report]] = {}  #: by task: what waits until the gateway knows the task
        self._told: set[str] = set()
        self._tell_of = tell_again

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
                self._alerts.show("outbox", f"The outbox cannot be read: {error}.")
                await self._sleep(self._backoff.next_s())
                continue
            self._backoff.reset()
            if not sent:
                await wait_for_event(self._news, _LOOK_AGAIN_S)

    async def flush(self) -> None:
        """Send what is there, once. Raises what send_batch raises."""
        while await self.send_batch():
            pass

    async def send_batch(self) -> int:
        """Send the oldest events; how many are done with for now. Raises AgentError (shown as a problem), OSError."""
        batch = await asyncio.to_thread(self._read_batch)
        if not batch:
            return await self._tell_again()
        try:
            answer = await self._client.send_reports(ReportBatch(reports=batch))
        except AgentError as error:
            if isinstance(error, GatewayRefusedError) and _is_about_content(error):
                return await asyncio.to_thread(self._shrink, error, batch)
            self._alerts.show("reports", str(error))
            raise
        self._alerts.clear("reports")
        self._max_reports = MAX_REPORTS
        return await asyncio.to_thread(self._settle, batch, answer.outcomes)

    def _read_batch(self) -> list[Report]:
        waiting = [report for reports in self._unknown.values() for report in reports]
        batch = self._outbox.pending(self._max_reports, without=waiting)
        self._show_set_aside()
        self._alerts.clear("outbox")
        return batch

    def _show_set_aside(self) -> None:
        """Shown until a person has taken them away; after a restart, too."""
        names = self._outbox.list_set_aside()
        if not names:
            self._alerts.clear("bad")
            return
        self._alerts.show(
            "bad",
            f"{len(names)} reports were not taken and lie in the spool's bad folder, with the reasons beside them: "
            f"the last one is {names[-1]}. Move them away when you have seen to them.",
        )

    def _shrink(self, error: GatewayRefusedError, batch: list[Report]) -> int:
        """A batch that is refused as a whole (413, 422) is halved, until the one event that is wrong stands alone."""
        if len(batch) > 1:
            self._max_reports = len(batch) // 2
            return len(batch)
        return int(self._outbox.set_aside(batch[0], str(error)))

    def _settle(self, batch: list[Report], outcomes: list[ReportOutcome]) -> int:
        """Remove what the gateway has, set aside what it will never take. An event without an outcome stays."""
        by_identity = {(report.epoch, report.seq): report for report in batch}
        settled = 0
        for outcome in outcomes:
            report = by_identity.pop((outcome.epoch, outcome.seq), None)
            if report is not None:
                settled += self._settle_one(report, outcome)
        _log.info("reports_sent", sent=len(batch), settled=settled)
        return settled

    def _settle_one(self, report: Report, outcome: ReportOutcome) -> bool:
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

    async def _tell_again(self) -> int:
        """All else is sent, and still the gateway lacks tasks: report those with their configs, once; how many."""
        new = [task_id for task_id in self._unknown if task_id not in self._told]
        if new:
            await self._tell_of(new)
            self._told.update(new)
            return len(new)
        if self._unknown:
            self._alerts.show(
                "unknown tasks",
                f"The gateway does not know {len(self._unknown)} tasks of this spool; their reports wait. If its "
                "database was put back from a backup, run `mltm-gateway restored` there.",
            )
        else:
            self._alerts.clear("unknown tasks")
        return 0


def _is_about_content(error: GatewayRefusedError) -> bool:
    """True where fewer events may pass. Only the gateway judges what is in them; a proxy may find them too large."""
    return error.status == 413 or (error.status in {400, 422} and error.is_judged)
