"""An agent acknowledges a question for bytes with a path, so that the gateway serves a file of its own machine."""

import json
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import requests

from attack.accounts import give
from attack.guards import replace
from attack.product.forged_agent import ForgedAgent
from attack.product.house import House, open_house
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_KEY = "-----BEGIN PRIVATE KEY----- of the gateway"


def run(trial: Trial) -> None:
    """Answer each question of ann for her log with a message that names the file."""
    with open_house(trial) as house:
        key = house.home / "tls.key"
        key.write_text(_KEY, encoding="utf-8")
        give(key, house.accounts["gateway"], 0o600)
        agent = house.forge_agents("ann")["ann"]
        task_id = house.submit("ann")
        agent.report(task_id, "running")
        for number in range(trial.tries):
            words = _spell(str(key), trial.rng.choice([0, 1, 5]), number)
            trial.tally.count(_judge(_ask_for_log(house, agent, task_id, words)))


def _spell(path: str, offset: int, number: int) -> dict[str, object]:
    """Each try names the file in another way, in another field."""
    size = len(_KEY)
    texts = [
        f"{path} {offset} {size} 1", f"{path} {offset} {size} 0", path, f"file://{path} {offset} {size} 1",
        f"{path}\n{offset}\n{size}\n1", "hello", "../tls.key 0 40 1", json.dumps({"path": path}), "",
    ]  # fmt: skip
    field = ("message", "words")[number % 2]
    more: Sequence[dict[str, object]] = ({}, {"path": path}, {"outputs": [{"path": path, "size": 9, "modified_at": 0}]})
    return {"outcome": ("done", "refused")[number // 18 % 2], field: texts[number % 9], **more[number % 3]}


def _ask_for_log(house: House, agent: ForgedAgent, task_id: str, words: dict[str, object]) -> requests.Response:
    answers: list[requests.Response] = []
    reader = threading.Thread(
        target=lambda: answers.append(house.ask("ann", "GET", f"/v1/tasks/{task_id}/log?offset=0&length=65536"))
    )
    reader.start()
    (question,) = [command for command in agent.poll() if command["kind"] == "send_bytes"]
    command_id = question["command_id"]
    if agent.acknowledge(command_id, **words).status_code >= 400:
        agent.acknowledge(command_id, outcome="refused", message="that was refused")
    reader.join()
    return answers[0]


def _judge(answer: requests.Response) -> str:
    if "PRIVATE KEY" in answer.text:
        return f"read {answer.text[:40]!r} of the gateway's own file"
    return f"the reader got {answer.status_code}" if answer.status_code >= 500 else ""


def take_guard_out() -> None:
    """The gateway of before: the words of an acknowledgement say where the bytes are."""
    import gateway.services.cluster_files as room
    import gateway.store.commands as rows
    from gateway.services.piece_files import open_piece
    from gateway.values import FilePiece

    def close_anything(agent: Any, command_id: str, ack: Any, now: Any) -> None:
        rows._close(rows._find_command(agent, command_id), ack, now)

    @asynccontextmanager
    async def read(files: Any, wanted: Any, wait_s: float) -> AsyncIterator[FilePiece]:
        _, ack = await files._ask(wanted, wait_s)
        path, start, length, final = (ack.message or "").split(" ")
        async with open_piece(Path(path)) as descriptor:
            skip, size = int(start), len(_KEY)
            yield FilePiece(descriptor, skip, min(int(length), size - skip), skip, size, final=final == "1")

    replace(rows, "close_command", close_anything)
    replace(room.ClusterFiles, "_read", read)


SCENARIO = Scenario(
    threats="1.1",
    tries_to="acknowledge a question for bytes with the path of a file of the gateway's machine",
    run=run,
    take_guard_out=take_guard_out,
    tries=36,
    control_tries=9,
)
