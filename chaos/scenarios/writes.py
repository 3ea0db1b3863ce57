"""Every write of a task's way fails, or kills who writes: counted in a clean task of its kind first, then each in turn.

Three views are walked: the spool as agent and gateway see it, as the jobs do (bash and coreutils), and the gateway's
files. What belongs to no single task (reports, epochs, uploads, folders) is counted and walked by place and operation.
"""

import contextlib
import math
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import requests

from chaos.ground.trial_ground import counted_ground
from chaos.ground.writes import (
    OUTCOMES,
    Met,
    Outcome,
    WritePlan,
    mark_trace,
    read_met,
    set_write_plans,
    take_plans_back,
)
from chaos.load.stream import KINDS, Kind, read_shown
from chaos.scenarios.ambiguous import require_standin
from chaos.trial import Result, Setup, Trial, open_trial
from lab.standin.control import set_faults
from lab.standin.sbatch import TIMED_OUT

__all__ = ["find_jobs_struck", "run"]

_VIEWS = ("jobs", "spool", "gateway")
_OF_JOB = re.compile(r"/slurm\.\d+\.out$")  # what the wrapper says; Slurm opens it by the agent's path
_KINDS = tuple(kind for kind in KINDS if kind.name in {"good", "stopped", "refused", "dropped"})
#: sbatch leaves it open whether there is a job, there is none, and the attempt ends in a fence.
_DOUBTFUL = replace(_KINDS[0], name="doubtful")
_IN_DOUBT = {"command": "sbatch", "mode": "error", "text": TIMED_OUT, "argument": "^--job-name=.*-a01$"}
_CLEAN_WITHIN_S, _TAKEN_WITHIN_S, _ENDS_WITHIN_S, _POLL_S = 120.0, 60.0, 120.0, 0.2
_ROUNDS = 4  #: so often a plan is set again whose task came to no n-th operation
_PREFIX, _AT_ONCE = 8, 8
_STARTS_AFTER_S = 3.0  #: without a fault, so that what only a start writes is reached


@dataclass(frozen=True)
class _Aim:
    """A plan in its view; `key`: "" for a task's n-th operation, else the place and the operation."""

    view: str
    key: str
    plan: WritePlan

    def __str__(self) -> str:
        return f"{self.view} {self.key or 'task'}: {self.plan.outcome} at {self.plan.number}"


def run(setup: Setup, faults: int | None) -> Result:
    """Let each operation meet every outcome. `faults`: so many, of what is shared and of kinds in the seed's order."""
    rng = random.Random(setup.seed)  # noqa: S311 - a plan that can be replayed
    slurm, kinds = require_standin(setup), rng.sample((*_KINDS, _DOUBTFUL), len(_KINDS) + 1)
    most = None if faults is None else max(_PREFIX, math.ceil(faults / (len(kinds) + 1)))
    with open_trial(replace(setup, kinds=_KINDS, ground=counted_ground)) as trial:
        trial.before_judging = lambda _: _judge(trial)
        _walk_shared(trial, rng, most)
        for kind in kinds:
            if faults is None or trial.result.faults < faults:
                set_faults(slurm, *([_IN_DOUBT] if kind is _DOUBTFUL else []), seed=setup.seed)
                _walk_kind(kind, trial, rng, most)
        set_faults(slurm)
        _wait_for_clean_tasks(trial.stream.kinds, trial)  # what was killed last has been revived
    return trial.result


def _walk_shared(trial: Trial, rng: random.Random, most: int | None) -> None:
    """Walk what is no task's own: seen while agent and gateway start and a task of each kind goes its way."""
    marks = _mark(trial)
    _restart(trial)
    _wait_for_clean_tasks(_KINDS, trial)
    seen = {
        (view, met.key)
        for view, often in _count_shared(trial).items()
        for met in read_met(_folder(trial, view), marks[view])
        if often[met.key] > 1  # a folder that is made once in a spool's life is not made again
    }
    aims = [
        _Aim(view, key, WritePlan(1, outcome))
        for view, key in sorted(seen)
        for outcome in _list_outcomes(key.rpartition("/")[2])
    ]
    _say(f"{len(seen)} operations on what is shared")
    rng.shuffle(aims)
    for start in range(0, len(aims[:most]), _AT_ONCE):
        _walk(trial, aims[:most][start : start + _AT_ONCE])


def _count_shared(trial: Trial) -> dict[str, Counter[str]]:
    met = {view: read_met(_folder(trial, view)) for view in _VIEWS}
    return {view: Counter(each.key for each in trace if "/" in each.key) for view, trace in met.items()}


def _walk_kind(kind: Kind, trial: Trial, rng: random.Random, most: int | None) -> None:
    trial.stream.turn_to(kind)
    _revive_until(trial, trial.stream.has_turned)
    task_ids = _wait_for_clean_tasks((kind,), trial)
    aims = []
    for view in _VIEWS:
        met = read_met(_folder(trial, view))
        way = min(([each for each in met if each.key == task_id] for task_id in task_ids), key=len)
        if kind is _DOUBTFUL:
            way = _choose_doubt(way)
        _say(f"{len(way)} operations of a task ({kind.name}) in the view {view}")
        aims += [
            _Aim(view, "", WritePlan(each.number, what)) for each in way for what in _list_outcomes(each.operation)
        ]
    rng.shuffle(aims)
    _walk(trial, aims[:most])


def _choose_doubt(way: list[Met]) -> list[Met]:
    """From the decision to call sbatch up to the next one; the rest is a good task's."""
    intents = [number for number, met in enumerate(way) if met.operation == "link" and "/intent." in met.path]
    return way[intents[0] : intents[1] + 1] if len(intents) > 1 else []


def _say(message: str) -> None:
    print(f"chaos: writes: {message}", file=sys.stderr, flush=True)


def _list_outcomes(operation: str) -> Sequence[Outcome]:
    """Only a write can be done by half."""
    return [each for each in OUTCOMES if operation.startswith("write") or not each.endswith("torn")]


def _folder(trial: Trial, view: str) -> Path:
    return trial.house.folder / "writes" / view


def _mark(trial: Trial) -> dict[str, int]:
    return {view: mark_trace(_folder(trial, view)) for view in _VIEWS}


def _restart(trial: Trial) -> None:
    """Start both anew. The agent takes the gateway for a restored one: it notes it, and reports all again."""
    (trial.house.folder / "real" / "agent" / "generation").unlink(missing_ok=True)
    for part in ("agent", "gateway"):
        trial.house.kill(part)
        trial.house.start(part)


def _wait_for_clean_tasks(kinds: Collection[Kind], trial: Trial) -> list[str]:
    """Wait until tasks of all these kinds that are handed in from now on have ended, and return what has."""
    began_s, wanted = time.monotonic(), ""
    while time.monotonic() < began_s + _CLEAN_WITHIN_S:
        handed_in = dict(trial.stream.handed_in)
        ended = [
            task_id for task_id, each in handed_in.items()
            if each.kind in kinds and each.began_s > began_s and each.ended_s < math.inf and _is_whole(task_id, trial)
        ]  # fmt: skip
        missing = [kind for kind in kinds if kind not in [handed_in[task_id].kind for task_id in ended]]
        if not missing:
            return ended
        wanted = ", ".join(kind.name for kind in missing)
        trial.stream.ask_for(missing[0])
        trial.house.revive_dead()
        time.sleep(_POLL_S)
    raise TimeoutError(f"nothing is broken now, and within {_CLEAN_WITHIN_S:.0f} s no such task has ended: {wanted}")


def _is_whole(task_id: str, trial: Trial) -> bool:
    """Whether all its operations are counted."""
    return not (trial.house.spool / "active" / task_id).exists()


def _walk(trial: Trial, aims: Sequence[_Aim]) -> None:
    """Let the plans strike, those again that found no n-th operation, and revive what they kill."""
    marks, left, struck = _mark(trial), list(aims), list[_Aim]()
    for _ in range(_ROUNDS):
        folders = {_aim_folder(trial, aim) for aim in left}
        for folder in folders:
            set_write_plans(folder, [aim.plan for aim in left if _aim_folder(trial, aim) == folder])
        _let_be_taken(trial, folders, is_shared=bool(aims[0].key))
        take_plans_back(folders)
        last = frozenset(trial.stream.expected)
        _revive_until(trial, partial(_is_through, trial, marks, aims, last))
        struck = _list_struck(trial, marks)
        left = [aim for aim in aims if aim not in struck]
        if not left:
            break
    trial.result.faults += len(struck)
    trial.result.kills += sum(aim.plan.outcome.startswith("kill") for aim in struck)
    trial.result.missed += map(str, left)


def _list_struck(trial: Trial, marks: dict[str, int]) -> list[_Aim]:
    met = [(view, met) for view in _VIEWS for met in read_met(_folder(trial, view), marks[view])]
    return [aim for view, each in met if (aim := _find_aim(view, each))]


def _is_through(trial: Trial, marks: dict[str, int], aims: Sequence[_Aim], last: Collection[str]) -> bool:
    """Whether all has struck, or the tasks have ended that took a plan."""
    return set(_list_struck(trial, marks)) >= set(aims) or _have_ended(trial, last)


def _aim_folder(trial: Trial, aim: _Aim) -> Path:
    return _folder(trial, aim.view) / aim.key


def _find_aim(view: str, met: Met) -> _Aim | None:
    if met.outcome == "-":
        return None
    return _Aim(view, met.key if "/" in met.key else "", WritePlan(met.number, met.outcome))


def _let_be_taken(trial: Trial, folders: Collection[Path], *, is_shared: bool) -> None:
    """Wait until every plan is taken, or no more are. What only a start writes gets one."""
    waiting, since_s, started_s = math.inf, time.monotonic(), time.monotonic()
    while (now_waiting := sum(len(list(folder.glob("*.plan"))) for folder in folders)) and _is_soon(since_s):
        if now_waiting < waiting:
            waiting, since_s, started_s = now_waiting, time.monotonic(), time.monotonic()
        if is_shared and time.monotonic() > started_s + _STARTS_AFTER_S:
            _restart(trial)
            started_s = time.monotonic()
        trial.house.revive_dead()
        time.sleep(_POLL_S)


def _is_soon(since_s: float) -> bool:
    return time.monotonic() < since_s + _TAKEN_WITHIN_S


def _revive_until(trial: Trial, holds: Callable[[], bool]) -> None:
    """Revive what dies, until something holds; what does not is for the judge."""
    until_s = time.monotonic() + _ENDS_WITHIN_S
    while not holds() and time.monotonic() < until_s:
        trial.house.revive_dead()
        time.sleep(_POLL_S)
    trial.house.revive_dead()


def _have_ended(trial: Trial, task_ids: Collection[str]) -> bool:
    with contextlib.suppress(requests.RequestException, ValueError, KeyError):
        shown = read_shown(trial.house)
        return all(task_id in shown and shown[task_id].is_final for task_id in task_ids)
    return False


def _judge(trial: Trial) -> None:
    _allow_ends(trial)
    trial.judge_answers()


def _allow_ends(trial: Trial) -> None:
    for view in ("jobs", "spool"):
        for task_id in find_jobs_struck(read_met(_folder(trial, view)), is_of_jobs=view == "jobs"):
            trial.stream.allow(task_id, "lost", "node_fail")


def find_jobs_struck(trace: Sequence[Met], *, is_of_jobs: bool) -> set[str]:
    """The tasks that may be lost: only those whose job was struck from its claim on, or in Slurm's own file of it."""
    claimed, found = set[str](), set[str]()
    for met in trace:
        if met.operation == "link" and "/claim." in met.path:
            claimed.add(met.key)
        if met.outcome != "-" and (_OF_JOB.search(met.path) or (is_of_jobs and met.key in claimed)):
            found.add(met.key)
    return found
