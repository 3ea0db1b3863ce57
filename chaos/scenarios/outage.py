"""The gateway is gone while many tasks end, and comes back: every end arrives, soon, and nobody hammered meanwhile.

The agent's waits on its gateway are the product's own here (jitter up to 60 s): an outage that lasts until they are at
their longest differs from one of an hour only in how long it stays so. That is how the hour is compressed.
"""

import contextlib
import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import requests

from chaos.ledger import UNENDED, render_script
from chaos.product.house import ChaosHouse
from chaos.trial import Result, Setup, Trial, open_trial
from mltm.contract.spool_layout import Spool
from mltm.runtime import files
from tests.e2e.house import wait_until

__all__ = ["Outage", "find_faults", "run"]

_DRAINED_S = 120.0
_LOOPS = 3  #: of the agent, that talk to the gateway: reports, commands, heartbeat
_LEAST_AWAY_S = 20.0
_PATIENCE_S = 1800.0  #: what has not come by then is a failure


@dataclass(frozen=True)
class Outage:
    """One outage. away_s: until the last end; drain_s: from the return until the gateway showed every end."""

    away_s: float
    drain_s: float
    tries: int  #: connections that were opened to the port meanwhile


def run(setup: Setup, faults: int | None) -> Result:
    """So many outages (1 by default), in each of which `setup.tasks` tasks end."""
    outages: list[Outage] = []
    with open_trial(replace(setup, clients=0)) as trial:
        for number in range(1, (faults or 1) + 1):
            outages.append(_let_end_without_gateway(trial, number, setup.tasks))
            trial.stream.failures += find_faults(outages[-1])
            trial.result.faults += 1
            print(f"chaos: outage {number}: {outages[-1]}", file=sys.stderr, flush=True)
        longest_s = max(outage.drain_s for outage in outages)
        print(f"chaos: the longest drain took {longest_s:.0f} s", file=sys.stderr, flush=True)
    return trial.result


def find_faults(outage: Outage) -> list[str]:
    """What is wrong with an outage: too long a drain, more tries than a back-off allows, or none at all."""
    found = []
    if outage.drain_s > _DRAINED_S:
        found.append(f"drained after {outage.drain_s:.0f} s; {_DRAINED_S:.0f} s is allowed")
    most = _LOOPS * (15 + outage.away_s / 10)  # full jitter up to 60 s: about 7 tries, then one every 30 s
    if not 0 < outage.tries <= most:
        found.append(f"{outage.tries} tries in {outage.away_s:.0f} s; 1 to {most:.0f} are right")
    return found


def _let_end_without_gateway(trial: Trial, number: int, most: int) -> Outage:
    """Hand in while the agent stands still, take the gateway away, let everything end, and bring it back."""
    house, spool = trial.house, Spool(trial.house.spool)
    house.signal("agent", signal.SIGSTOP)
    tasks = _hand_in(trial, number, most)
    wait_until(lambda: tasks <= {*files.list_names(spool.inbox.new)}, "the bundles lie in the spool", _PATIENCE_S)
    house.kill("gateway")
    with _counting(house.url) as tries:
        house.signal("agent", signal.SIGCONT)
        began_s = time.monotonic()
        wait_until(lambda: tasks <= {*files.list_names(spool.done)}, "every task has ended", _PATIENCE_S)
        time.sleep(max(0.0, began_s + _LEAST_AWAY_S - time.monotonic()))  # so that a back-off shows
    away_s, waiting = time.monotonic() - began_s, _read_outbox(spool)
    house.start("gateway")
    back_s = time.monotonic()
    wait_until(lambda: _are_shown(house, spool, tasks), "every end is shown", _PATIENCE_S)
    drain_s = time.monotonic() - back_s
    trial.stream.failures += _find_gaps(house, tasks, waiting)
    return Outage(away_s, drain_s, len(tries))


def _hand_in(trial: Trial, number: int, most: int) -> set[str]:
    """Hand in so many tasks that end at once, every tenth with an exit code."""

    def submit(count: int) -> str:
        code, end = ("sys.exit(3)", "failed") if count % 10 == 0 else ("", "succeeded")
        task_id = trial.house.submit(render_script(trial.stream.ledger, code), key=f"{number}-{count}")
        trial.stream.allow(task_id, end)
        return task_id

    with ThreadPoolExecutor(4) as clients:
        return set(clients.map(submit, range(most)))


@contextlib.contextmanager
def _counting(url: str) -> Iterator[list[float]]:
    """Listen where the gateway was and hang up at once, as a proxy without its server does; yields when each came."""
    came: list[float] = []
    stopping = threading.Event()
    with socket.create_server(("127.0.0.1", urlsplit(url).port or 0)) as listener:
        listener.settimeout(0.2)

        def hang_up() -> None:
            while not stopping.is_set():
                with contextlib.suppress(TimeoutError):
                    listener.accept()[0].close()
                    came.append(time.monotonic())

        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            yield came
        finally:
            stopping.set()
            thread.join()


def _read_outbox(spool: Spool) -> set[tuple[str, str]]:
    """Every report that waits, as task and state."""
    reports = [json.loads((spool.outbox / name).read_bytes()) for name in files.list_names(spool.outbox)]
    return {(report["task_id"], report["state"]) for report in reports}


def _are_shown(house: ChaosHouse, spool: Spool, tasks: set[str]) -> bool:
    if files.list_names(spool.outbox):
        return False
    with contextlib.suppress(requests.RequestException, ValueError, KeyError):
        rows = house.list_rows(most=len(tasks))
        return tasks <= set(rows) and all(rows[task]["final"] for task in tasks)
    return False


def _find_gaps(house: ChaosHouse, tasks: set[str], waiting: set[tuple[str, str]]) -> list[str]:
    """Reports that waited during the outage and are not in their task's history; ends that never waited."""
    ends = {task for task, state in waiting if state not in UNENDED}
    found = [f"{task}: it did not end during the outage" for task in tasks - ends]
    told = {(task, event["state"]) for task in tasks for event in house.read(task)["history"]}  # type: ignore[attr-defined] # JSON
    return found + [f"{task}: the report of {state} is lost" for task, state in sorted(waiting - told)]
