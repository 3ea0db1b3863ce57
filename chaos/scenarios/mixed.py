"""Everything at once: random kills, Slurm's wrong answers, a gateway that is away, and two agents on one spool."""

import random
import signal
import time

from chaos.scenarios.ambiguous import count_met, count_modes, require_standin
from chaos.scenarios.kills import kill_something
from chaos.scenarios.slurm import FAULTS, MIN_JOB_AGE_S, send_away
from chaos.trial import Result, Setup, Trial, open_trial
from lab.standin_control import change_settings, set_faults

__all__ = ["run"]

_TWICE = {"command": "start", "mode": "start_twice", "seconds": 0, "probability": 0.05}
_AGENTS = ("agent", "agent-2")


def run(setup: Setup, faults: int | None) -> Result:
    """Strike so often (60 times by default); Slurm's wrong answers are counted beside."""
    slurm, rng = require_standin(setup), random.Random(setup.seed)  # noqa: S311 - a plan that can be replayed
    change_settings(slurm, min_job_age_s=MIN_JOB_AGE_S, accounting=True)
    set_faults(slurm, *FAULTS, _TWICE, seed=setup.seed)
    with open_trial(setup) as trial:
        trial.house.start("agent-2")
        strikes = 0
        while strikes < (faults or 60):
            time.sleep(rng.uniform(0, 0.6))
            strikes += _strike(trial, rng)
        trial.result.counts, trial.result.faults = count_modes(slurm), strikes + count_met(slurm)
        set_faults(slurm)
    return trial.result


def _strike(trial: Trial, rng: random.Random) -> int:
    chance = rng.random()
    if chance < 0.1:
        send_away(trial, "gateway", rng.uniform(1, 5))
    elif chance < 0.2:
        send_away(trial, rng.choice(_AGENTS), rng.uniform(0, 5))
    elif chance < 0.35:
        name = rng.choice(_AGENTS)
        trial.house.signal(name, signal.SIGSTOP)
        time.sleep(rng.uniform(0.1, 5.0))
        trial.house.signal(name, signal.SIGCONT)
    else:
        return kill_something(trial, rng)
    return 1
