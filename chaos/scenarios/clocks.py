"""Clocks that jump by an hour or a day, to and fro: those of the agent, of the gateway and of the jobs, each alone."""

import random
import re
import time
from dataclasses import replace

from chaos.faults.points import Role
from chaos.ground.trial_ground import own_clocks, set_clock
from chaos.load.stream import Kind
from chaos.trial import Result, Setup, open_trial

__all__ = ["JUMPS_S", "ROLES", "run", "sleep_elsewhere"]

ROLES: tuple[Role, ...] = ("agent", "gateway", "wrapper")
JUMPS_S = (3600, -3600, 86400, -86400)


def sleep_elsewhere(kind: Kind) -> Kind:
    """Let another program sleep: Python's own sleep is cut short with EINVAL by libfaketime, where the clock jumps."""
    return replace(kind, code=re.sub(r"time\.sleep\((\d+)\)", r"os.system('exec sleep \1')", kind.code))


def run(setup: Setup, faults: int | None) -> Result:
    """Let one clock jump away and back again, so often (24 jumps by default) that each has made every jump."""
    rng = random.Random(setup.seed)  # noqa: S311 - a plan that can be replayed
    jumps = [(role, jump_s) for role in ROLES for jump_s in JUMPS_S]
    with open_trial(replace(setup, kinds=tuple(map(sleep_elsewhere, setup.kinds)), ground=own_clocks)) as trial:
        trial.before_judging = lambda _: trial.judge_answers()
        while trial.result.faults < (faults or 2 * len(jumps)):
            rng.shuffle(jumps)
            for role, jump_s in jumps[: (faults or 2 * len(jumps)) // 2 or 1]:
                for ahead_s in (jump_s, 0):
                    time.sleep(rng.uniform(0.5, 3))
                    set_clock(trial.house.folder, role, ahead_s)
                    trial.result.faults += 1
            trial.house.restart_dead()
    return trial.result
