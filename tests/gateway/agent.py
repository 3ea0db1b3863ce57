"""An agent that the test moves by hand: it speaks to the real routes, and does nothing of its own accord."""

import io
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient

from mltm.contract import routes

Client = TestClient[web.Request, web.Application]
START = datetime(2026, 11, 23, 12, tzinfo=UTC)
EVIDENCE = {
    "accepted": "none", "submitting": "slurm", "pending": "slurm", "running": "claim", "finishing": "slurm",
}  # fmt: skip


@dataclass
class FakeAgent:
    """Its credential, its spool, and the number of its last report."""

    client: Client
    credential: str
    spool: Path
    spool_id: str
    key: bytes = b""
    epoch: int = 1
    seq: int = 0
    headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.headers = {"Authorization": f"Bearer {self.credential}"}

    def build(self, task_id: str, state: str, **fields: object) -> dict[str, object]:
        """The next report, as JSON. A final state is a closed one."""
        self.seq += 1
        is_end = state not in EVIDENCE
        return {
            "spool_id": self.spool_id, "epoch": self.epoch, "seq": self.seq, "task_id": task_id, "attempt": 1,
            "state": state, "evidence": "closed" if is_end else EVIDENCE[state], "closed": is_end,
            "at": (START + timedelta(seconds=self.seq)).isoformat(), **fields,
        }  # fmt: skip

    async def send(self, *reports: dict[str, object]) -> list[dict[str, Any]]:
        """Send a batch; its outcomes."""
        body = io.BytesIO(json.dumps({"reports": reports}).encode())
        headers = {**self.headers, "Content-Type": "application/json"}
        answer = await self.client.post(routes.AGENT_REPORTS, data=body, headers=headers)
        assert answer.status == 200, await answer.text()
        outcomes: list[dict[str, Any]] = (await answer.json())["outcomes"]
        return outcomes

    async def report(self, task_id: str, *states: str, **fields: object) -> list[str]:
        """Report states in this order; what became of each."""
        sent = await self.send(*(self.build(task_id, state, **fields) for state in states))
        return [outcome["outcome"] for outcome in sent]

    async def poll(self, wait: float = 10) -> list[dict[str, Any]]:
        """One long poll; the open commands."""
        answer = await self.client.get(routes.AGENT_COMMANDS, params={"wait": str(wait)}, headers=self.headers)
        assert answer.status == 200, await answer.text()
        commands: list[dict[str, Any]] = (await answer.json())["commands"]
        return commands

    async def acknowledge(self, command_id: str, **ack: object) -> int:
        """Close a command; the status."""
        path = routes.AGENT_ACK.format(command_id=command_id)
        answer = await self.client.post(path, json={"outcome": "done", **ack}, headers=self.headers)
        return answer.status

    async def bring(
        self, command: dict[str, Any], whole: bytes, *, final: bool = True, attempt: int | None = None
    ) -> int:
        """Answer send_bytes out of the whole file; the status. attempt: whose log it is, if the agent says it."""
        asked, size = command.get("offset", 0), len(whole)
        offset = max(0, size + asked) if asked < 0 else min(asked, size)
        headers = {"X-Mltm-Offset": str(offset), "X-Mltm-Size": str(size), "X-Mltm-Final": str(final).lower()}
        headers |= {"X-Mltm-Attempt": str(attempt)} if attempt is not None else {}
        answer = await self.client.put(
            routes.AGENT_BYTES.format(command_id=command["command_id"]),
            data=io.BytesIO(whole[offset : offset + command["length"]]),
            headers={**self.headers, **headers},
        )
        return answer.status
