"""A shared file system that shows changes late: two agents and the jobs, each with a view of the spool of its own.

Names (also those that were not there), attributes and listings are served from old answers for three seconds, one
twentieth of the minute that the protocol allows for; the agent's waits that depend on it are a twentieth, too. link,
rename and O_EXCL are decided at once, as a file server does. Agents and gateway are killed on top of it.
"""

import random
import time
from dataclasses import replace
from functools import partial

from chaos.ground.trial_ground import open_views
from chaos.ground.writes import count_lies
from chaos.trial import Result, Setup, Trial, open_trial

__all__ = ["AGENTS", "STALE_S", "WAITS", "run", "start_second_agent"]

STALE_S = 3.0
WAITS = {"beat_still_s": 15, "look_again_s": 6, "unlisted_s": 15, "fence_after_s": 3}
AGENTS = {"agent": "spool", "agent-2": "spool-2"}
_PARTS = (*AGENTS, "gateway")


def run(setup: Setup, faults: int | None) -> Result:
    """Go on until so many listings (200 by default) were served that were not true any more."""
    rng = random.Random(setup.seed)  # noqa: S311 - a plan that can be replayed
    views = tuple(AGENTS.values())
    with open_trial(replace(setup, ground=partial(open_views, names=views, stale_s=STALE_S, waits=WAITS))) as trial:
        start_second_agent(trial)
        while (lies := _count_lies(trial)) < (faults or 200):
            time.sleep(rng.uniform(0.5, 5))
            part = rng.choice(_PARTS)
            trial.house.kill(part)
            trial.result.kills += 1
            trial.house.start(part)
        trial.result.faults = lies
    return trial.result


def start_second_agent(trial: Trial) -> None:
    """Start an agent that sees the same spool by another mount, as on another login node."""
    folder = trial.house.folder
    text = (folder / "agent.toml").read_text(encoding="utf-8")
    changed = text.replace(f'spool = "{folder}/spool"', f'spool = "{folder}/spool-2"')
    (folder / "agent-2.toml").write_text(changed, encoding="utf-8")
    trial.house.start("agent-2")


def _count_lies(trial: Trial) -> int:
    return sum(count_lies(path) for path in (trial.house.folder / "writes").iterdir() if path.is_dir())
