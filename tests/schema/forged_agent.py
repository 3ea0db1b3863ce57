"""An agent that answers every question for logs and outputs at once, in a thread of its own."""

import contextlib
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import requests

from mltm.contract import routes
from tests.gateway.agent import EVIDENCE

__all__ = ["ForgedAgent"]

_FILE = b"a line of the log\n" * 500
_POLL_S = 2


@dataclass
class ForgedAgent:
    """Its credential, and the number of its last report."""

    url: str
    credential: str
    spool_id: str
    seq: int = 0
    session: requests.Session = field(default_factory=requests.Session)

    @classmethod
    def enrol(cls, url: str, code: str) -> "ForgedAgent":
        """Trade the code for a credential."""
        spool_id = secrets.token_hex(16)
        asked = {"code": code, "host": "login1", "unix_user": "svc", "spool_id": spool_id}
        answer = requests.post(url + routes.AGENT_ENROL, json=asked, timeout=30)
        answer.raise_for_status()
        agent = cls(url, answer.json()["credential"], spool_id)
        agent.session.headers["Authorization"] = f"Bearer {agent.credential}"
        return agent

    def report(self, task_id: str, state: str, **fields: Any) -> None:
        """Report a state."""
        self.seq += 1
        report = {
            "spool_id": self.spool_id, "epoch": 1, "seq": self.seq, "task_id": task_id, "attempt": 1, "state": state,
            "evidence": EVIDENCE.get(state, "closed"), "closed": state not in EVIDENCE,
            "at": datetime.now(UTC).isoformat(), **fields,
        }  # fmt: skip
        answer = self.session.post(self.url + routes.AGENT_REPORTS, json={"reports": [report]}, timeout=30)
        assert [each["outcome"] for each in answer.json()["outcomes"]] == ["taken"], answer.text

    def poll(self, wait_s: float) -> list[dict[str, Any]]:
        """The open commands."""
        answer = self.session.get(self.url + routes.AGENT_COMMANDS, params={"wait": str(wait_s)}, timeout=30)
        answer.raise_for_status()
        commands: list[dict[str, Any]] = answer.json()["commands"]
        return commands

    @contextlib.contextmanager
    def answering(self, leave_alone: frozenset[str] = frozenset(), *, only_questions: bool = False) -> Iterator[None]:
        """Answer commands until the block ends; some are left alone, so that they stay open."""
        over = threading.Event()

        def answer_all() -> None:
            while not over.is_set():
                with contextlib.suppress(requests.RequestException):
                    known = self.poll(0 if only_questions else _POLL_S)
                    for command in known:
                        if command["command_id"] not in leave_alone:
                            self._answer(command, only_questions=only_questions)
                if only_questions:
                    over.wait(0.4)  # open requests make every long poll short

        thread = threading.Thread(target=answer_all, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(timeout=_POLL_S + 5)

    def _answer(self, command: dict[str, Any], *, only_questions: bool) -> None:
        if command["kind"] == "send_bytes":
            self._send_bytes(command)
        elif command["kind"] == "list_outputs":
            file = {"path": "model.bin", "size": len(_FILE), "modified_at": datetime.now(UTC).isoformat()}
            self._acknowledge(command, {"outcome": "done", "outputs": [file]})
        elif not only_questions:
            self._acknowledge(command, {"outcome": "done"})

    def _acknowledge(self, command: dict[str, Any], ack: dict[str, Any]) -> None:
        path = routes.AGENT_ACK.format(command_id=command["command_id"])
        self.session.post(self.url + path, json=ack, timeout=30)

    def _send_bytes(self, command: dict[str, Any]) -> None:
        if "missing" in command.get("file", ""):
            self._acknowledge(command, {"outcome": "refused", "message": "There is no such file."})
            return
        asked, size = command.get("offset", 0), len(_FILE)
        offset = max(0, size + asked) if asked < 0 else min(asked, size)
        headers = {"X-Mltm-Offset": str(offset), "X-Mltm-Size": str(size), "X-Mltm-Final": "false"}
        path = routes.AGENT_BYTES.format(command_id=command["command_id"])
        piece = _FILE[offset : offset + command["length"]]
        self.session.put(self.url + path, data=piece, headers=headers, timeout=30)
