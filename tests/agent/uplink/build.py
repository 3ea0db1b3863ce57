"""An agent's network side in a temporary folder: its files, a clock that stands, sleeps that are only noted down."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aioresponses import CallbackResult, aioresponses

from agent.protocol.task_report import ReportDraft
from agent.settings import AgentSettings
from agent.spool.outbox import Outbox
from agent.uplink.alerts import AlertBoard
from agent.uplink.client import GatewayClient, open_session
from agent.uplink.credential import Credential, write_credential
from agent.uplink.reporter import Reporter, TellAgain
from mltm.contract import routes
from mltm.contract.ids import TaskId
from mltm.contract.problems import Problem
from mltm.contract.reports import Report
from mltm.contract.spool_layout import Spool
from mltm.contract.states import Evidence, State
from mltm.runtime.clock import Clock

URL = "https://gateway.test:8008"
SECRET = "mltm_agent_verysecret"
GENERATION = "a" * 32
TASK = TaskId("0" * 31 + "1")
Judge = Callable[[dict[str, Any]], str | None]
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class EnoughError(Exception):
    """Ends a loop that would go on for ever."""


async def tell_nothing(_: Sequence[str]) -> None:
    """Of tasks that the gateway does not know there is nothing to tell here."""


@dataclass
class UplinkKit:
    """What the network side needs, and what it did."""

    root: Path
    url: str = URL
    slept: list[float] = field(default_factory=list)
    max_sleeps: int = 1000
    on_sleep: Callable[[float], None] = lambda _: None
    alerts: AlertBoard = field(default_factory=AlertBoard)
    spool: Spool = field(init=False)
    settings: AgentSettings = field(init=False)
    clock: Clock = field(init=False)
    outbox: Outbox = field(init=False)

    def __post_init__(self) -> None:
        self.spool = Spool(self.root / "spool")
        for folder in self.spool.agent_folders:
            folder.mkdir(parents=True, exist_ok=True)
        self.settings = AgentSettings.model_validate(
            {
                "spool": self.spool.root, "cluster": "atena02", "gateway_url": self.url,
                "credential_file": self.root / "credential",
            }
        )  # fmt: skip
        # All random bits are ones but for the nonces: a back-off is then its ceiling, and a file has its own name.
        self.clock = Clock(now=lambda: NOW, token_bytes=lambda n: b"\xff" * n if n == 4 else Clock().token_bytes(n))
        self.outbox = Outbox(self.spool.outbox, "a" * 32, 1, self.clock)
        self.enrol()

    def enrol(self, credential: str = SECRET, gateway_url: str = "") -> None:
        """What `mltm-agent enroll` leaves."""
        known = Credential(
            agent_id="g1", credential=credential, cluster="atena02", owner="maria", gateway_name="one",
            gateway_url=gateway_url,
        )  # fmt: skip
        write_credential(self.settings.credential_file, known, self.clock)

    async def sleep(self, seconds: float) -> None:
        """Note the wait down, and be there at once."""
        self.slept.append(seconds)
        self.on_sleep(seconds)
        if len(self.slept) >= self.max_sleeps:
            raise EnoughError
        await asyncio.sleep(0)

    def put(self, count: int = 1, task_id: TaskId = TASK, **fields: object) -> list[Report]:
        """Put reports into the outbox."""
        known = {"task_id": task_id, "attempt": 1, "state": State.RUNNING, "evidence": Evidence.CLAIM}
        return [self.outbox.put(ReportDraft.model_validate({**known, **fields})) for _ in range(count)]

    def waiting(self) -> list[int]:
        """The sequences of what waits in the outbox."""
        return [report.seq for report in self.outbox.read_oldest(1000)]

    def set_aside(self) -> dict[str, str]:
        """What lies in bad/, with the reasons."""
        return {name: (self.spool.bad / f"{name}.message").read_text() for name in self.outbox.list_set_aside()}

    async def open_client(
        self, stack: AsyncExitStack, on_generation: Callable[[str], Awaitable[None]] | None = None
    ) -> GatewayClient:
        """A client that ends with the stack."""
        session = await stack.enter_async_context(open_session())
        return GatewayClient(session, self.settings, tls=True, on_generation=on_generation)

    def reporter(self, client: GatewayClient, tell_again: TellAgain = tell_nothing) -> Reporter:
        """A reporter that does not really wait."""
        return Reporter(
            self.outbox, client, self.alerts, self.clock, news=asyncio.Event(), tell_again=tell_again, sleep=self.sleep
        )


def problem(status: int, detail: str, next_step: str = "") -> str:
    """What the gateway says when it refuses."""
    return Problem(title="No", status=status, detail=detail, key="no", next_step=next_step).model_dump_json()


def answer(gateway: aioresponses, judge: Judge = lambda _: "taken", **options: Any) -> list[list[int]]:
    """Let the gateway judge each report (None: it says nothing of it); returns the sequences of each batch."""
    batches: list[list[int]] = []

    def tell(_: object, **call: Any) -> CallbackResult:
        reports = json.loads(call["data"])["reports"]
        batches.append([report["seq"] for report in reports])
        judged = [(report, judge(report)) for report in reports]
        outcomes = [
            {"epoch": report["epoch"], "seq": report["seq"], "outcome": outcome, "message": "because"}
            for report, outcome in judged
            if outcome is not None
        ]
        return CallbackResult(payload={"generation": GENERATION, "outcomes": outcomes})

    gateway.post(URL + routes.AGENT_REPORTS, callback=tell, **{"repeat": True, **options})
    return batches
