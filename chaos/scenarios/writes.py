"""Every write of a task's way fails, or kills who writes: counted in a clean task first, then each in turn.

Both views are walked: that of agent and gateway, and that of the jobs (bash and coreutils).
"""

import contextlib
import math
import random
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import requests

from chaos.ground import open_views
from chaos.stream import KINDS, read_shown
from chaos.trial import Result, Setup, Trial, open_trial
from chaos.writes import OUTCOMES, WritePlan, read_met, set_write_plans

__all__ = ["run"]

_VIEWS = ("jobs", "spool")
_OF_JOB = re.compile(r"/slurm\.\d+\.out$")  # what the wrapper says; Slurm opens it by the agent's path
_GOOD = tuple(kind for kind in KINDS if kind.name == "good")
_CLEAN_WITHIN_S, _ENDS_WITHIN_S, _LOOK_S = 120.0, 120.0, 0.2


def run(setup: Setup, faults: int | None) -> Result:
    """Let each operation of each view meet every outcome; `faults`: so many of these plans, in the seed's order."""
    with open_trial(replace(setup, kinds=_GOOD, ground=open_views)) as trial:
        plans = _plan(trial, setup.seed)[:faults]
        for view in _VIEWS:
            set_write_plans(_folder(trial, view), [plan for name, plan in plans if name == view])
        _walk(trial)
        for view in _VIEWS:
            _judge_view(view, [plan for name, plan in plans if name == view], trial)
    return trial.result


def _folder(trial: Trial, view: str) -> Path:
    return trial.house.folder / "writes" / view


def _plan(trial: Trial, seed: int) -> list[tuple[str, WritePlan]]:
    """Count a clean task's operations in each view, and plan every outcome for each of them."""
    task_id = _wait_for_clean_task(trial)
    plans = []
    for view in _VIEWS:
        count = sum(met.key == task_id for met in read_met(_folder(trial, view)))
        print(f"chaos: writes: {count} operations of a clean task in the view {view}", file=sys.stderr)
        plans += [(view, WritePlan(number, outcome)) for number in range(1, count + 1) for outcome in OUTCOMES]
    random.Random(seed).shuffle(plans)  # noqa: S311 - a plan that can be replayed
    return plans


def _wait_for_clean_task(trial: Trial) -> str:
    """Wait until a task has ended whose operations are all counted, and return its id."""
    until_s = time.monotonic() + _CLEAN_WITHIN_S
    while time.monotonic() < until_s:
        with contextlib.suppress(requests.RequestException, ValueError, KeyError):
            if ended := [task_id for task_id, shown in read_shown(trial.house).items() if shown.is_final]:
                return ended[0]
        time.sleep(_LOOK_S)
    raise TimeoutError("no task has ended, although nothing was broken yet")


def _walk(trial: Trial) -> None:
    """Wait until every plan has found its task, and those tasks have ended; revive what was killed."""
    folders = [_folder(trial, view) for view in _VIEWS]
    _look_after(trial, lambda: not any(any(folder.glob("*.plan")) for folder in folders), math.inf)
    last = set(trial.stream.expected)
    _look_after(trial, lambda: _have_ended(trial, last), time.monotonic() + _ENDS_WITHIN_S)


def _look_after(trial: Trial, holds: Callable[[], bool], until_s: float) -> None:
    while time.monotonic() < until_s and not holds():
        trial.house.revive_dead()
        time.sleep(_LOOK_S)


def _have_ended(trial: Trial, task_ids: set[str]) -> bool:
    with contextlib.suppress(requests.RequestException, ValueError, KeyError):
        shown = read_shown(trial.house)
        return all(task_id in shown and shown[task_id].is_final for task_id in task_ids)
    return False


def _judge_view(view: str, plans: Sequence[WritePlan], trial: Trial) -> None:
    """Count what struck; only a job that was struck from its claim on may be lost by it."""
    claimed: set[str] = set()
    struck = []
    for met in read_met(_folder(trial, view)):
        if met.operation == "link" and "/claim." in met.path:
            claimed.add(met.key)
        if met.outcome != "-":
            struck.append(WritePlan(met.number, met.outcome))
            if _OF_JOB.search(met.path) or (view == "jobs" and met.key in claimed):
                trial.stream.allow(met.key, "lost", "node_fail")
    trial.result.faults += len(struck)
    trial.result.kills += sum(plan.outcome.startswith("kill") for plan in struck)
    trial.result.missed += [f"{view}: {plan}" for plan in plans if plan not in struck]
