"""A full disk, ENOSPC real: the spool's and the gateway's, each a small one of its own, filled and freed by turns."""

import contextlib
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from chaos.ground.trial_ground import small_disks
from chaos.ledger import Shown
from chaos.load.stream import HandedIn
from chaos.trial import Result, Setup, Trial, open_trial
from tests.disk import fill_disk

__all__ = ["Span", "allow_met", "fill", "find_later", "find_met", "run"]

# Where the disk was full behind the claim, what the job could not write is lost with it. A job that finds no room
# before that does not start, and its task is tried again.
_HONEST = ("lost", "node_fail")
_AFTERWARDS, _HANDED_IN_WITHIN_S = 6, 60.0
Span = tuple[float, float]  #: from just before a disk was filled until it was free again, of the monotonic clock


def run(setup: Setup, faults: int | None) -> Result:
    """Fill a disk so often (12 times by default), each for up to five seconds. Afterwards all has to go well."""
    rng = random.Random(setup.seed)  # noqa: S311 - a plan that can be replayed
    kinds = tuple(kind for kind in setup.kinds if kind.way == "https")
    with open_trial(replace(setup, kinds=kinds, ground=small_disks)) as trial:
        fills = list[Span]()
        trial.before_judging = lambda shown: _judge_fills(fills, trial, shown)
        while trial.result.faults < (faults or 12):
            time.sleep(rng.uniform(0.2, 2))
            trial.result.faults += 1
            fills.append(fill(rng.choice((("spool",), ("gateway",), ("spool", "gateway"))), rng, trial))
        _wait_for_more(trial, fills)
    return trial.result


def fill(names: tuple[str, ...], rng: random.Random, trial: Trial) -> Span:
    """Fill the disks at these folders but for a little, wait, and free them; a write may get that little first."""
    fillers = [trial.house.folder / name / ".filler" for name in names]
    began_s = time.monotonic()
    for filler in fillers:
        with contextlib.suppress(OSError):
            fill_disk(filler, leave=rng.choice((0, 4096, 65536)))
    time.sleep(rng.uniform(0.3, 5))
    for filler in fillers:
        filler.unlink()
    return began_s, time.monotonic()


def find_met(handed_in: Mapping[str, HandedIn], fills: Sequence[Span]) -> set[str]:
    """The tasks that were under way during a fill."""
    return {
        task_id
        for task_id, each in handed_in.items()
        if any(each.began_s <= freed_s and each.ended_s >= began_s for began_s, freed_s in fills)
    }


def allow_met(fills: Sequence[Span], trial: Trial) -> None:
    """Let the tasks that were under way during a fill be lost by it."""
    for task_id in find_met(trial.stream.handed_in, fills):
        trial.stream.allow(task_id, *_HONEST)


def find_later(handed_in: Mapping[str, HandedIn], fills: Sequence[Span]) -> set[str]:
    """The tasks that were handed in behind the last fill and can only succeed."""
    freed_s = fills[-1][1]
    return {
        task_id for task_id, each in handed_in.items() if each.began_s > freed_s and each.kind.ends == {"succeeded"}
    }


def _wait_for_more(trial: Trial, fills: Sequence[Span]) -> None:
    """Have a few more tasks handed in."""
    until_s = time.monotonic() + _HANDED_IN_WITHIN_S
    while len(find_later(dict(trial.stream.handed_in), fills)) < _AFTERWARDS and time.monotonic() < until_s:
        time.sleep(0.2)


def _judge_fills(fills: Sequence[Span], trial: Trial, shown: Mapping[str, Shown]) -> None:
    """Only a task that was under way during a fill may be lost by it; those behind the last succeed."""
    handed_in = trial.stream.handed_in
    succeeded = {task_id for task_id, row in shown.items() if row.state == "succeeded"}
    allow_met(fills, trial)
    later = find_later(handed_in, fills)
    if len(later & succeeded) < _AFTERWARDS:
        trial.stream.failures.append(f"behind the last fill, not {_AFTERWARDS} of {len(later)} tasks succeeded")
