"""Every answer of Slurm's is wrong, late or missing now and then, and it forgets jobs while the agent is away."""

import random
import signal
import time
from collections import Counter
from typing import Any

from chaos.scenarios.ambiguous import LATE, UNTRUE, count_met, count_modes, require_standin
from chaos.trial import Result, Setup, Trial, open_trial
from lab.standin.control import change_settings, set_faults
from lab.standin.sbatch import TIMED_OUT

__all__ = ["FAULTS", "MIN_JOB_AGE_S", "run", "send_away"]

MIN_JOB_AGE_S = 2
_AWAY_S = (3.0, 6.0)  #: longer than Slurm remembers an ended job
FAULTS: tuple[dict[str, Any], ...] = (
    {"command": "squeue", "mode": "hang", "seconds": 60, "probability": 0.02},
    {"command": "squeue", "mode": "empty", "probability": 0.1},
    {"command": "squeue", "mode": "none", "probability": 0.05},
    {"command": "squeue", "mode": "cut", "probability": 0.1},
    {"command": "squeue", "mode": "garbage", "probability": 0.05},
    {"command": "sacct", "mode": "absent", "probability": 0.2},
    {"command": "sacct", "mode": "slow", "seconds": 2, "probability": 0.1},
    {"command": "sacct", "mode": "behind", "seconds": 5, "probability": 0.3},
    {"command": "scancel", "mode": "fail", "probability": 0.2},
    {"command": "scancel", "mode": "ignored", "probability": 0.2},
    {"command": "sbatch", "mode": "hang", "seconds": 600, "probability": 0.01},
    {"command": "sbatch", "mode": "hang_after_accept", "seconds": 600, "probability": 0.01},
    {"command": "sbatch", "mode": "accept_and_time_out", "probability": 0.1},
    {"command": "sbatch", "mode": "error", "text": TIMED_OUT, "probability": 0.05},
    *LATE,
    *UNTRUE,
)
_EACH_WITHIN = 150  #: so many faults meet each mode, or it counts as not reached


def build_faults() -> list[dict[str, Any]]:
    """Every mode of a command once first, with a call between two that nothing certain befalls; then by chance.

    Those that hang come last, so that a short run does not spend its time on them.
    """
    modes = {(fault["command"], fault["mode"]): fault for fault in reversed(FAULTS)}
    certain, places = [], Counter[str]()
    for fault in sorted(modes.values(), key=lambda fault: fault["mode"].startswith("hang")):
        certain.append(fault | {"count": 1, "probability": 1, "after": places[fault["command"]]})
        places[fault["command"]] += 1
    return [*certain, *FAULTS]


def run(setup: Setup, faults: int | None) -> Result:
    """Go on until so many answers (150 by default) were wrong, the agent going away now and then."""
    slurm, rng = require_standin(setup), random.Random(setup.seed)  # noqa: S311 - a plan that can be replayed
    change_settings(slurm, min_job_age_s=MIN_JOB_AGE_S, accounting=True)
    set_faults(slurm, *build_faults(), seed=setup.seed)
    with open_trial(setup) as trial:
        times_away, wanted = 0, faults or 150
        while (met := count_met(slurm)) < wanted:
            time.sleep(rng.uniform(1, 4))
            rng.choice((_stop_and_continue, _kill_and_start))(trial, rng.uniform(*_AWAY_S))
            times_away += 1
        trial.result.counts, trial.result.faults = count_modes(slurm), met + times_away
        set_faults(slurm)
    if wanted >= _EACH_WITHIN:
        trial.result.missed += [mode for mode, count in trial.result.counts.items() if not count]
    return trial.result


def send_away(trial: Trial, part: str, away_s: float) -> None:
    """Kill a part, and start it again after so long."""
    trial.house.kill(part)
    time.sleep(away_s)
    trial.house.start(part)


def _kill_and_start(trial: Trial, away_s: float) -> None:
    send_away(trial, "agent", away_s)


def _stop_and_continue(trial: Trial, away_s: float) -> None:
    trial.house.signal("agent", signal.SIGSTOP)
    time.sleep(away_s)
    trial.house.signal("agent", signal.SIGCONT)
