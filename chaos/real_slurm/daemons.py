"""A real slurmctld or slurmd dies while one of our processes stands at a named step; then it goes on from there.

The step's process is stopped, so that the daemon dies at that very instant, and continued: before the daemon is back,
or after it.
"""

import random
import signal
import time
from dataclasses import dataclass
from typing import Literal

from chaos.faults.plan import Plan, When, read_victim, set_plan, take_back
from chaos.faults.points import NEVER_RETURN, POINTS, Point
from chaos.product.jobs import read_task_id
from chaos.real_slurm.nodes import allow_cut_off, looking_after_nodes, lose_node
from chaos.strikes.provoke import provoke
from chaos.trial import Result, Setup, Trial, open_trial, require_lab
from lab import processes
from lab.processes import Process
from lab.slurm import controls, daemons
from lab.slurm.layout import NODES, Lab

__all__ = ["Death", "build_deaths", "run"]

#: The agent's steps around its job in Slurm, of which slurmctld may die; of the wrapper's each, and slurmd, too.
_AROUND_SLURM = frozenset(
    f"agent.{name}" for name in ("intent", "sbatch", "sbatch-runs", "submitted", "note", "scancel", "squeue", "close")
)
_REACHED_WITHIN_S = 120.0
_STANDS_WITHIN_S = 5.0
_MAX_TRIES = 3
_PROVOKE_EVERY_S = 2.0
# Jobs that slurmctld shows as running since it forgot their end keep others from their nodes. It asks the nodes at a
# `scontrol reconfigure`, once it was up for 20 s.
_RECONFIGURE_EVERY_S = 22.0
_AWAY_S = 2.0


@dataclass(frozen=True)
class Death:
    """Which daemon dies, and where one of ours stands then."""

    daemon: Literal["slurmctld", "slurmd"]
    plan: Plan

    def __str__(self) -> str:
        return f"{self.daemon} dies {self.plan.when} {self.plan.point.name}"


def build_deaths(seed: int) -> list[Death]:
    """Each step with each daemon that has to do with it, before and after, in an order that the seed decides."""
    every = [death for point in POINTS for death in _deaths_at(point)]
    return random.Random(seed).sample(every, len(every))  # noqa: S311 - a plan that can be replayed


def _deaths_at(point: Point) -> list[Death]:
    moments: tuple[When, ...] = ("before",) if point.name in NEVER_RETURN else ("before", "after")
    if point.role == "wrapper":
        return [Death(daemon, Plan(point, when, "stop")) for daemon in ("slurmctld", "slurmd") for when in moments]
    return [Death("slurmctld", Plan(point, when, "stop")) for when in moments if point.name in _AROUND_SLURM]


def run(setup: Setup, faults: int | None) -> Result:
    """Let a daemon die so often (once at each step by default)."""
    lab, rng = require_lab(setup), random.Random(setup.seed)  # noqa: S311 - a plan that can be replayed
    with looking_after_nodes(lab), open_trial(setup) as trial:
        trial.before_judging = lambda shown: allow_cut_off(lab, trial, shown)
        for death in build_deaths(setup.seed)[:faults]:
            if any(_let_die(death, lab, trial, rng) for _ in range(_MAX_TRIES)):
                trial.result.faults += 1
                trial.result.counts[f"{death.daemon} at a step of the {death.plan.point.role}'s"] += 1
            else:
                trial.result.missed.append(str(death))
    return trial.result


def _wait_until_one_stands(plan: Plan, lab: Lab, trial: Trial) -> Process | None:
    """Who has come to the step and is stopped there, as the only one; None if nobody came, or Slurm killed it."""
    victim = _wait_for_victim(plan, lab, trial)
    if victim is None:
        return None
    found: list[Process] = []

    def is_there() -> bool:
        found[:] = processes.find_processes(lambda pid: _is_stopped(pid) and _is_of(pid, victim, plan, trial))
        return bool(found)

    return found[0] if processes.wait_until(is_there, timeout_s=_STANDS_WITHIN_S) else None


def _wait_for_victim(plan: Plan, lab: Lab, trial: Trial) -> str | None:
    plans, until_s = trial.house.plans, time.monotonic() + _REACHED_WITHIN_S
    reconfigure_s = time.monotonic() + _RECONFIGURE_EVERY_S
    set_plan(plans, plan)
    while (victim := read_victim(plans, plan)) is None:
        provoke(plan.point.name, trial)
        is_struck = processes.wait_until(lambda: read_victim(plans, plan) is not None, timeout_s=_PROVOKE_EVERY_S)
        if time.monotonic() > reconfigure_s:
            controls.reconfigure(lab)
            reconfigure_s += _RECONFIGURE_EVERY_S
        if not is_struck and time.monotonic() > until_s and take_back(plans, plan):
            return None
    return victim


def _is_of(pid: int, victim: str, plan: Plan, trial: Trial) -> bool:
    return bool(read_task_id(pid, trial.house.spool)) if plan.point.role == "wrapper" else pid == int(victim)


def _is_stopped(pid: int) -> bool:
    return processes.read_proc_file(pid, "stat").rpartition(b")")[2].split()[:1] == [b"T"]


def _let_die(death: Death, lab: Lab, trial: Trial, rng: random.Random) -> bool:
    """Kill the daemon and start it again; the process goes on before that or after it. False: nobody stood there."""
    if (standing := _wait_until_one_stands(death.plan, lab, trial)) is None:
        return False

    def be_away() -> None:
        if rng.random() < 0.5:
            processes.send([standing], signal.SIGCONT)
        time.sleep(rng.uniform(0, _AWAY_S))

    try:
        if death.daemon == "slurmctld":
            controls.kill_slurmctld(lab)
            trial.result.kills += 1
            be_away()
            daemons.start_slurmctld(lab)
            return True
        node = next((name for name in NODES if standing in daemons.find_job_processes(lab, name)), None)
        if node is not None:  # else Slurm killed it just now
            lose_node(lab, node, trial, with_jobs=rng.random() < 0.5, meanwhile=be_away)
        return node is not None
    finally:
        processes.send([standing], signal.SIGCONT)
