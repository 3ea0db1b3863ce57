"""User code leaves hard links, links and pipes as outputs: none of them is listed, sent, or waited for."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from attack.guards import replace
from attack.product import processes
from attack.product.house import House, open_house
from attack.product.real_agent import RealAgent, running_agent
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_KINDS = ("a hard link", "a hard link to a script", "a link", "a link to a folder", "a pipe")
_ANSWERED_WITHIN_S = 20


def run(trial: Trial) -> None:
    """Each try is one such name: it is asked for, and looked for in the list."""
    with open_house(trial) as house, running_agent(house, "ann") as agent:
        task_id = house.submit("ann")
        task = house.spool("ann") / "tasks" / task_id
        processes.wait_until((task / "input" / "entrypoint.py").exists, "the agent has taken the task")
        (task / "outputs" / "honest").write_bytes(b"an honest output")
        for number in range(trial.tries):
            kind, name = _KINDS[number % len(_KINDS)], f"{number}.bin"
            _plant(kind, task / "outputs" / name, agent, task)
            harm = [*_read(house, task_id, name), *_read(house, task_id, f"{name}/credential"), *_list(house, task_id)]
            trial.tally.count(f"{kind}: {harm[0]}" if harm else "")
            (task / "outputs" / name).unlink()


def _plant(kind: str, path: Path, agent: RealAgent, task: Path) -> None:
    match kind:
        case "a hard link":
            path.hardlink_to(agent.credential)
        case "a hard link to a script":
            path.hardlink_to(task / "input" / "entrypoint.py")
        case "a link":
            path.symlink_to(agent.credential)
        case "a link to a folder":
            path.symlink_to(agent.home)
        case _:
            os.mkfifo(path)


def _read(house: House, task_id: str, name: str) -> Iterator[str]:
    try:
        answer = house.ask("ann", "GET", f"/v1/tasks/{task_id}/outputs/{name}", timeout=_ANSWERED_WITHIN_S)
    except requests.Timeout:
        yield f"{name} is waited for"
        return
    if answer.ok or answer.status_code == 500:
        yield f"{name} was answered {answer.status_code}, {len(answer.content)} bytes"


def _list(house: House, task_id: str) -> Iterator[str]:
    answer = house.ask("ann", "GET", f"/v1/tasks/{task_id}/outputs", timeout=_ANSWERED_WITHIN_S).json()
    names = [file["path"] for file in answer["files"]]
    if names != ["honest"]:
        yield f"the list has {names}"


def take_guard_out() -> None:
    """An agent that opens what has the name, and does not ask how many names a file has."""
    import agent.uplink.task_files  # noqa: F401 - it has to be there to be changed
    from agent.uplink import outputs
    from agent.uplink.file_bytes import FileBytes

    def read(folder: Any, path: str, offset: int, length: int) -> FileBytes:
        data = (folder.outputs / path).read_bytes()
        return FileBytes(data[offset : offset + length], offset, len(data))

    replace(outputs, "read_output", read)


SCENARIO = Scenario(
    threats="1.11, T6",
    tries_to="have a file of the agent's sent, or the agent wait, by links and pipes among the outputs",
    run=run,
    take_guard_out=take_guard_out,
    tries=20,
    control_tries=3,
    control_needs=2,
)
