"""Slurm hears of jobs after the agent has given their attempts up: only the fence keeps code from a second start."""

import time
from dataclasses import replace

from chaos.load.stream import KINDS
from chaos.scenarios.ambiguous import count_duplicates, count_met, require_standin
from chaos.trial import Result, Setup, Trial, open_trial
from lab.processes import wait_until
from lab.standin.control import Standin, is_at_rest, set_faults

__all__ = ["run"]

_TOO_LATE = {"command": "sbatch", "mode": "accept_late", "seconds": 15}  #: the agent waits for 7.5 s
_RESTS_WITHIN_S = 120.0
_KINDS = tuple(kind for kind in KINDS if kind.name in ("good", "bad"))  #: those that Slurm runs to their end


def run(setup: Setup, faults: int | None) -> Result:
    """Hand in tasks until so many sbatches (40 by default) were heard too late: every client's first, then 7 in 10.

    A fault is a job that came beside the one that ran.
    """
    slurm, wanted = require_standin(setup), faults or 40
    first = min(setup.clients, wanted)
    further = {"count": wanted - first, "probability": 0.7}
    set_faults(slurm, _TOO_LATE | {"count": first}, _TOO_LATE | further, seed=setup.seed)
    with open_trial(replace(setup, kinds=_KINDS)) as trial:
        trial.before_judging = lambda _: _wait_for_late_ones(trial, slurm)
        while count_met(slurm) < wanted:
            time.sleep(0.2)
        trial.result.doubts = wanted
    trial.result.wasted = trial.result.faults
    return trial.result


def _wait_for_late_ones(trial: Trial, slurm: Standin) -> None:
    """Judge what they did, not that they were still to come."""
    if not wait_until(lambda: is_at_rest(slurm), timeout_s=_RESTS_WITHIN_S, pause_s=0.2):
        trial.result.missed.append("the end of the jobs that come too late")
    trial.result.faults = count_duplicates(slurm)
