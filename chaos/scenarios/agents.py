"""Further agents on one spool, by mistake: each is stopped and continued at random, as a suspended host is."""

import random
import signal
import time

from chaos.trial import Result, Setup, open_trial

__all__ = ["run"]

_AGENTS = ("agent", "agent-2", "agent-3")


def run(setup: Setup, faults: int | None) -> Result:
    """Stop and continue one after the other (30 times by default), so that they wake up in the middle of a step."""
    rng = random.Random(setup.seed)  # noqa: S311 - a plan that can be replayed
    with open_trial(setup) as trial:
        for name in _AGENTS[1:]:
            trial.house.start(name)
        while trial.result.faults < (faults or 30):
            name = rng.choice(_AGENTS)
            trial.house.signal(name, signal.SIGSTOP)
            time.sleep(rng.uniform(0.1, 2.0))
            trial.house.signal(name, signal.SIGCONT)
            time.sleep(rng.uniform(0, 0.3))
            trial.result.faults += 1
    return trial.result
