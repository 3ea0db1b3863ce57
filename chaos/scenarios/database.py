"""The database: its lock held by somebody else, its file system failing, the gateway killed within a commit.

The gateway's data lies on a view of ours (`chaos.ground.mount`). It counts the operations on the database's files, and
makes the n-th fail or kills who makes it: before it, after half of it, or after it.
"""

import contextlib
import random
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

from chaos.ground.trial_ground import database_ground
from chaos.ground.writes import OUTCOMES, WritePlan, read_met, set_write_plans
from chaos.trial import Result, Setup, Trial, open_trial

__all__ = ["run"]

_NUMBERS = range(1, 25)  # a commit is about six operations, so this reaches some commits on
_POLL_S, _REACHED_WITHIN_S = 0.02, 30.0
_BUSY_S = (0.5, 12.0)  # longer than the gateway's own patience, too


def run(setup: Setup, faults: int | None) -> Result:
    """Meet every outcome at each of 24 operations in turn (or so many of them); in between somebody holds the lock."""
    plans = [WritePlan(number, outcome) for number in _NUMBERS for outcome in OUTCOMES]
    rng = random.Random(setup.seed)  # noqa: S311 - a plan that can be replayed
    rng.shuffle(plans)
    with open_trial(replace(setup, ground=database_ground)) as trial:
        trial.before_judging = lambda _: trial.judge_answers()
        database = trial.house.folder / "gateway" / "gateway.sqlite"
        for number, plan in enumerate(plans[:faults]):
            if number % 8 == 2:
                _hold_lock(database, rng.uniform(*_BUSY_S))
                trial.result.faults += 1
            _strike(plan, trial)
        _wait_until_up(trial)
    return trial.result


def _strike(plan: WritePlan, trial: Trial) -> None:
    """Wait until the plan has struck, put the gateway back on its feet, and look at the file."""
    folder = trial.house.folder / "writes" / "gateway"
    before = _count_struck(folder)
    set_write_plans(folder, [plan])
    until_s = time.monotonic() + _REACHED_WITHIN_S
    while _count_struck(folder) == before:
        if time.monotonic() > until_s:
            raise TimeoutError(f"the database was not used so often within {_REACHED_WITHIN_S:.0f} s: {plan}")
        trial.house.revive_dead()  # a fault at its start ends the gateway, with words
        time.sleep(_POLL_S)
    trial.result.faults += 1
    if plan.outcome.startswith("kill"):
        trial.house.kill("gateway")  # it is dying
        trial.result.kills += 1
    trial.house.revive_dead()
    found = _read_integrity(trial.house.folder / "gateway" / "gateway.sqlite")
    if found != "ok":
        trial.stream.failures.append(f"after {plan} the database is damaged: {found}")


def _wait_until_up(trial: Trial) -> None:
    until_s = time.monotonic() + _REACHED_WITHIN_S
    while time.monotonic() < until_s and not trial.house._answers():  # noqa: SLF001 - the house's own look
        trial.house.revive_dead()
        time.sleep(_POLL_S)


def _count_struck(folder: Path) -> int:
    return sum(met.outcome != "-" for met in read_met(folder))


def _read_integrity(database: Path) -> str:
    with contextlib.closing(sqlite3.connect(database, timeout=60)) as connection:
        return str(connection.execute("pragma integrity_check").fetchone()[0])


def _hold_lock(database: Path, hold_s: float) -> None:
    """Hold the lock of writers; it belongs to this process, which is not the gateway's."""
    with contextlib.closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as connection:
        connection.execute("begin immediate")
        time.sleep(hold_s)
        connection.execute("rollback")
