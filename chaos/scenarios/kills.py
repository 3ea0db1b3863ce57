"""kill -9 at random times: agent, gateway, and in the jobs the wrapper, the user's code, or both at once."""

import contextlib
import os
import random
import signal
import time

from chaos.product.jobs import is_code, is_wrapper, read_task_id
from chaos.trial import Result, Setup, Trial, open_trial
from lab import processes
from lab.processes import wait_until

__all__ = ["kill_something", "run"]

_VICTIMS = ("agent", "gateway", "wrapper", "code", "job")
_WEIGHTS = (4, 4, 1, 1, 1)
#: How a task may end, too: a wrapper that lives says how its code ended, and of a dead one nobody knows.
_ENDS = {"wrapper": ("lost", "node_fail"), "code": ("failed",), "job": ("lost", "node_fail", "failed")}
_TASKS_A_KILL = 2.5  #: the next kill waits until so many tasks were handed in, but not for ever
_MAX_PAUSE_S = 5.0


def run(setup: Setup, faults: int | None) -> Result:
    """Kill so often (50 times by default), each after a pause that the seed decides."""
    rng = random.Random(setup.seed)  # noqa: S311 - a plan that can be replayed
    with open_trial(setup) as trial:
        while trial.result.faults < (faults or 50):
            time.sleep(rng.uniform(0, 0.6))
            wanted = _TASKS_A_KILL * trial.result.faults
            wait_until(lambda wanted=wanted: len(trial.stream.expected) >= wanted, timeout_s=_MAX_PAUSE_S)  # type: ignore[misc]
            trial.result.faults += kill_something(trial, rng)
    trial.result.kills = trial.result.faults
    return trial.result


def kill_something(trial: Trial, rng: random.Random) -> int:
    """Kill a part or, in a job that runs now, some of it; how many kills that were."""
    victim = rng.choices(_VICTIMS, _WEIGHTS)[0]
    return _kill_part(victim, trial) if victim in trial.house.parts else _kill_job(victim, rng, trial)


def _kill_part(part: str, trial: Trial) -> int:
    trial.house.kill(part)
    trial.house.start(part)
    return 1


def _kill_job(victim: str, rng: random.Random, trial: Trial) -> int:
    """Kill in a job that runs now, if there is one; its task may then end by that."""
    spool = trial.house.spool
    wrappers = processes.find_processes(lambda pid: is_wrapper(pid, spool))
    if not wrappers:
        return 0
    wrapper = rng.choice(wrappers)
    task_id = read_task_id(wrapper.pid, spool)
    codes = [each for each in processes.with_descendants([wrapper]) if is_code(each.pid)]
    targets = {"wrapper": [wrapper], "code": codes, "job": [*codes, wrapper]}[victim]
    if not task_id or not targets:
        return 0
    trial.stream.allow(task_id, *_ENDS[victim], is_code_killed=victim != "wrapper")
    for target in targets:
        with contextlib.suppress(ProcessLookupError):
            os.kill(target.pid, signal.SIGKILL)
    return 1
