"""An agent's credential in bad hands: every call that an agent may make, with whatever one likes to say."""

import contextlib
import datetime as dt
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import requests

__all__ = ["ForgedAgent", "render_now"]


def render_now() -> str:
    """The time as agents write it."""
    return dt.datetime.now(dt.UTC).isoformat()


@dataclass
class ForgedAgent:
    """What an enrolment gave."""

    url: str
    credential: str = field(repr=False)
    spool_id: str
    spool_key: str = field(repr=False)
    _seq: int = 0
    _session: requests.Session = field(default_factory=requests.Session)

    def ask(self, method: str, path: str, **options: object) -> requests.Response:
        """Call the gateway with the credential."""
        given = options.pop("headers", {})
        assert isinstance(given, Mapping)
        headers = {"Authorization": f"Bearer {self.credential}", **given}
        return self._session.request(method, self.url + path, headers=headers, timeout=60, **options)  # type: ignore[arg-type] # requests' own names

    def build_report(self, task_id: str, state: str, /, **fields: object) -> dict[str, object]:
        """A report with the next number; `fields` come in addition or instead."""
        self._seq += 1
        return {
            "task_id": task_id, "attempt": 1, "state": state, "evidence": "none", "spool_id": self.spool_id,
            "epoch": 1, "seq": self._seq, "at": render_now(), **fields,
        }  # fmt: skip

    def send(self, reports: Sequence[Mapping[str, object]]) -> requests.Response:
        """Send a batch."""
        return self.ask("POST", "/v1/agent/reports", json={"reports": list(reports)})

    def report(self, task_id: str, state: str, **fields: object) -> str:
        """Send one report; return its outcome, or the answer's status where the batch was not read."""
        answer = self.send([self.build_report(task_id, state, **fields)])
        return str(answer.json()["outcomes"][0]["outcome"]) if answer.ok else str(answer.status_code)

    def poll(self, wait_s: float = 5.0) -> list[dict[str, object]]:
        """The open commands."""
        commands: list[dict[str, object]] = self.ask("GET", f"/v1/agent/commands?wait={wait_s}").json()["commands"]
        return commands

    @contextlib.contextmanager
    def refusing(self) -> Iterator[list[str]]:
        """Refuse every command for a `with` block, so that nobody waits for it. Gives the files that were asked for."""
        asked: list[str] = []

        def refuse(command: Mapping[str, object]) -> None:
            asked.append(str(command.get("file", "")))
            self.acknowledge(command["command_id"], outcome="refused", message="No.")

        with self.answering(refuse):
            yield asked

    @contextlib.contextmanager
    def answering(self, reply: Callable[[Mapping[str, object]], None]) -> Iterator[None]:
        """Hand every command to `reply` for a `with` block."""
        is_over = threading.Event()

        def answer_all() -> None:
            while not is_over.is_set():
                for command in self.poll(1):
                    reply(command)

        thread = threading.Thread(target=answer_all)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def acknowledge(self, command_id: object, **ack: object) -> requests.Response:
        """Answer a command."""
        return self.ask("POST", f"/v1/agent/commands/{command_id}/ack", json=ack)

    def deliver(self, command_id: object, data: bytes, **headers: object) -> requests.Response:
        """Bring bytes that a command asked for."""
        named = {"offset": 0, "size": len(data), "final": "false", **headers}
        sent = {f"X-Mltm-{name.title()}": str(value) for name, value in named.items()}
        return self.ask("PUT", f"/v1/agent/commands/{command_id}/bytes", data=data, headers=sent)
