"""A user asks for many large ranges of an output at once: neither gateway nor agent holds them all in memory."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import requests

from attack.accounts import give
from attack.guards import replace
from attack.product import processes
from attack.product.house import House, open_house
from attack.product.real_agent import running_agent
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_AT_ONCE, _RANGE = 120, 4 * 1024 * 1024
_FILE = 256 * 1024 * 1024
_MAX_RISE = 64 * 1024 * 1024
_GATHER_S = 3.0  #: the agent rests so long, and then finds all questions at once


def run(trial: Trial) -> None:
    """Each try is a request; memory is looked at after each round of them."""
    with open_house(trial) as house, running_agent(house, "ann") as agent:
        task_id = house.submit("ann")
        outputs = house.spool("ann") / "tasks" / task_id / "outputs"
        processes.wait_until(outputs.exists, "the agent has taken the task")
        with (outputs / "big").open("wb") as file:
            file.truncate(_FILE)
        give(outputs / "big", house.accounts["ann"], 0o600)
        before = {"the gateway": _read_peak(house.pid), "the agent": _read_peak(agent.pid)}
        while trial.tally.tries < trial.tries:
            os.kill(agent.pid, signal.SIGSTOP)
            with ThreadPoolExecutor(_AT_ONCE) as threads:
                asked = [threads.submit(_ask, house, task_id, number) for number in range(_AT_ONCE)]
                wait(asked, timeout=_GATHER_S)
                os.kill(agent.pid, signal.SIGCONT)
            statuses = [each.result() for each in asked]
            harm = [f"a range was answered {status}" for status in statuses if status not in {206, 429, 503, 504}]
            harm += _find_risen({"the gateway": house.pid, "the agent": agent.pid}, before)
            for number in range(_AT_ONCE):
                trial.tally.count(harm[number] if number < len(harm) else "")
        risen = max(
            _read_peak(pid) - before[who] for who, pid in (("the gateway", house.pid), ("the agent", agent.pid))
        )
        trial.tally.counts["MiB of memory more"] = risen // 1024 // 1024


def _ask(house: House, task_id: str, number: int) -> int:
    start = number * _RANGE % _FILE
    headers = {"Authorization": f"Bearer {house.tokens['ann']}", "Range": f"bytes={start}-{start + _RANGE - 1}"}
    url = f"{house.url}/v1/tasks/{task_id}/outputs/big"
    try:
        return requests.get(url, headers=headers, timeout=120).status_code
    except requests.RequestException:
        return 503  # it was ended: who asked for too much may be


def _find_risen(pids: dict[str, int], before: dict[str, int]) -> Iterator[str]:
    for who, pid in pids.items():
        rise = _read_peak(pid) - before[who]
        if rise > _MAX_RISE:
            yield f"{who} took {rise:,} bytes"


def _read_peak(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM")) * 1024


def take_guard_out() -> None:
    """A gateway and an agent that do all at once."""
    import contextlib

    from agent.uplink import command_poller
    from gateway.http import users_load
    from gateway.services import lanes

    vars(command_poller)["_TRANSFERS"] = 10_000
    vars(lanes)["_LIMITS"] = dict.fromkeys(lanes._LIMITS, (10_000, 10_000))
    replace(users_load.UsersLoad, "request", lambda *_: contextlib.nullcontext())


SCENARIO = Scenario(
    threats="1.10, T11",
    tries_to=f"fill the memory of gateway and agent with {_AT_ONCE} ranges of an output at once",
    run=run,
    take_guard_out=take_guard_out,
    tries=3 * _AT_ONCE,
    control_tries=_AT_ONCE,
)
