"""sbatch leaves it open whether the job exists, heard or not, at once or late; or says something untrue."""

import json
import time
from collections import Counter
from dataclasses import replace
from typing import Any

from chaos.trial import Result, Setup, open_trial
from lab.standin.control import Standin, list_jobs, set_faults
from lab.standin.sbatch import TIMED_OUT

__all__ = ["LATE", "UNTRUE", "count_duplicates", "count_met", "count_modes", "require_standin", "run"]

Fault = dict[str, Any]

_ENOUGH_DOUBTS, _MAX_WASTED = 500, 0.01
_COMPRESSED = 40  #: the chaos house's waits against the product's: 1.5 s for 60 s, 7.5 s for 300 s
# Seconds of a real Slurm after sbatch gave up, evenly over their logarithm as a busy slurmctld's backlog is, and how
# many in a hundred of all calls; the last is beyond what the product waits for.
_DELAYS = {1: 2, 3: 2, 8: 2, 20: 2, 50: 2, 120: 2, 280: 2, 600: 0.25}
LATE: tuple[Fault, ...] = tuple(
    {"command": "sbatch", "mode": "accept_late", "seconds": delay_s / _COMPRESSED, "probability": percent / 100}
    for delay_s, percent in _DELAYS.items()
)
_DOUBT: tuple[Fault, ...] = (
    {"command": "sbatch", "mode": "accept_and_time_out", "probability": 0.35},
    {"command": "sbatch", "mode": "error", "text": TIMED_OUT, "probability": 0.25},
    {"command": "sbatch", "mode": "hang_after_accept", "seconds": 600, "probability": 0.005},
    *LATE,
)
_KINDS = ("good", "bad", "stopped", "regretted")  #: cheap ones, and none that Slurm refuses: that is no doubt
#: Answers that are no doubt at all, and wrong.
UNTRUE: tuple[Fault, ...] = (
    {"command": "sbatch", "mode": "noise", "probability": 0.05},
    {"command": "sbatch", "mode": "forget", "probability": 0.03},
    {"command": "sbatch", "mode": "reuse_id", "probability": 0.03},
    {"command": "squeue", "mode": "fail", "probability": 0.05},
)


def run(setup: Setup, faults: int | None) -> Result:
    """Hand in tasks until so many calls of sbatch (100 by default) left it open whether there is a job."""
    slurm = require_standin(setup)
    set_faults(slurm, *_DOUBT, *UNTRUE, seed=setup.seed)
    kinds = tuple(kind for kind in setup.kinds if kind.name in _KINDS)
    with open_trial(replace(setup, kinds=kinds)) as trial:
        while count_met(slurm, first=len(_DOUBT)) < (faults or 100):
            time.sleep(0.2)
        trial.result.faults = trial.result.doubts = count_met(slurm, first=len(_DOUBT))
        set_faults(slurm)
    trial.result.wasted = count_duplicates(slurm)
    trial.result.judgement.wrong += find_waste(trial.result.wasted, trial.result.doubts, setup.control)
    return trial.result


def find_waste(wasted: int, doubts: int, control: str = "") -> list[str]:
    """Too many duplicates, where there were enough calls in doubt to say so."""
    if control or doubts < _ENOUGH_DOUBTS or wasted <= doubts * _MAX_WASTED:
        return []
    return [f"{wasted} of {doubts} calls in doubt cost Slurm a second job; {_MAX_WASTED:.0%} is allowed"]


def require_standin(setup: Setup) -> Standin:
    """The stand-in of a trial. Raises TypeError for a real Slurm, which has no such faults."""
    if not isinstance(setup.slurm, Standin):
        raise TypeError("Only the stand-in has these faults: leave --slurm real away.")
    return setup.slurm


def count_met(slurm: Standin, *, first: int | None = None) -> int:
    """How often a fault, or one of the `first` so many, was met so far."""
    return sum(uses for index, uses in _read_uses(slurm).items() if first is None or index < first)


def count_modes(slurm: Standin) -> Counter[str]:
    """How often each command's each mode was met so far, those that were not met with 0."""
    listed = json.loads((slurm.dir / "faults.json").read_text(encoding="utf-8"))["faults"]
    uses, counts = _read_uses(slurm), Counter[str]()
    for index, fault in enumerate(listed):
        counts[f"{fault['command']} {fault['mode']}"] += uses.get(index, 0)
    return counts


def _read_uses(slurm: Standin) -> dict[int, int]:
    try:
        used: dict[str, list[int]] = json.loads((slurm.dir / "faults.used.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {int(index): uses for index, (_, uses) in used.items()}


def count_duplicates(slurm: Standin) -> int:
    """Jobs beyond the first of each task, by what Slurm was given, where no task allows a rerun."""
    jobs = list_jobs(slurm)
    return len(jobs) - len({job["name"].rpartition("-")[0] for job in jobs})
