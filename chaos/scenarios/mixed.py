"""Everything at once, on one trial.

Random kills, Slurm's wrong answers, a gateway that is away, two agents that are stopped and continued, on a spool that
each sees late and whose disk fills up, with clocks that jump.
"""

import random
import signal
import time
from dataclasses import replace
from functools import partial

from chaos.ground.trial_ground import rough_ground, set_clock
from chaos.scenarios import disk, stale
from chaos.scenarios.ambiguous import count_met, count_modes, require_standin
from chaos.scenarios.clocks import JUMPS_S, ROLES, sleep_elsewhere
from chaos.scenarios.kills import kill_something
from chaos.scenarios.slurm import FAULTS, MIN_JOB_AGE_S, send_away
from chaos.trial import Result, Setup, Trial, open_trial
from lab.processes import wait_until
from lab.standin.control import change_settings, set_faults

__all__ = ["run"]

_TWICE = {"command": "start", "mode": "start_twice", "seconds": 0, "probability": 0.05}
_AGENTS = tuple(stale.AGENTS)
_MAX_PAUSE_S = 5.0  #: the next strike waits until there is a task for each, but not for ever
_DISK_MB = 256  #: enough for every task's files


def run(setup: Setup, faults: int | None) -> Result:
    """Strike so often (60 times by default); Slurm's wrong answers are counted beside."""
    slurm, rng = require_standin(setup), random.Random(setup.seed)  # noqa: S311 - a plan that can be replayed
    change_settings(slurm, min_job_age_s=MIN_JOB_AGE_S, accounting=True)
    set_faults(slurm, *FAULTS, _TWICE, seed=setup.seed)
    ground = partial(
        rough_ground, names=tuple(stale.AGENTS.values()), stale_s=stale.STALE_S, waits=stale.WAITS, size_mb=_DISK_MB
    )
    with open_trial(replace(setup, kinds=tuple(map(sleep_elsewhere, setup.kinds)), ground=ground)) as trial:
        stale.start_second_agent(trial)
        fills = list[disk.Span]()
        trial.before_judging = lambda _: disk.allow_met(fills, trial)
        strikes = 0
        while strikes < (faults or 60):
            time.sleep(rng.uniform(0, 0.6))
            wait_until(lambda strikes=strikes: len(trial.stream.expected) >= strikes, timeout_s=_MAX_PAUSE_S)  # type: ignore[misc]
            strikes += _strike(trial, fills, rng)
            if fills:  # an agent that starts on a full disk says so and ends: a service manager starts it again
                trial.house.revive_dead()
        _wait_until_up(trial)
        trial.result.counts, trial.result.faults = count_modes(slurm), strikes + count_met(slurm)
        set_faults(slurm)
    return trial.result


def _wait_until_up(trial: Trial) -> None:
    until_s = time.monotonic() + _MAX_PAUSE_S
    while time.monotonic() < until_s:
        trial.house.restart_dead()
        time.sleep(0.2)


def _strike(trial: Trial, fills: list[disk.Span], rng: random.Random) -> int:
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
    elif chance < 0.45:
        set_clock(trial.house.folder, rng.choice(ROLES), rng.choice((0, *JUMPS_S)))
    elif chance < 0.5:
        fills.append(disk.fill(("real",), rng, trial))
    else:
        killed = kill_something(trial, rng)
        trial.result.kills += killed
        return killed
    return 1
