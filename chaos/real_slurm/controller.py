"""The real slurmctld killed within seconds of a job of ours that it accepted, again and again.

Now and then the agent dies with it, and a slurmd with it or alone.
Slurm saves its state every five seconds at most: a crash forgets jobs that it took, gives their ids to others, and
starts some a second time. Jobs of the same user that are not ours run in the same Slurm, and must be left alone.
"""

import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from chaos.ledger import Shown, read_ledger
from chaos.load.stream import Kind
from chaos.real_slurm.foreign import Foreign, running_foreign
from chaos.real_slurm.nodes import allow_cut_off, looking_after_nodes, lose_node
from chaos.real_slurm.slurm_log import LogLine, read_controller_log
from chaos.trial import Result, Setup, Trial, open_trial, require_lab
from lab import processes
from lab.slurm import controls, daemons
from lab.slurm.layout import NODES, Lab

__all__ = ["is_in_window", "run"]

_WITHIN_S = 5.0  #: the window in which Slurm has not saved what it accepted
_AT_ONCE_S = 0.3
_PATIENCE_S = 20.0
_SLURMD_EVERY = 5  #: cycles: one in so many with slurmctld, and one in so many alone
_AGENT_SHARE = 0.3
#: Slurm corrects jobs that it shows as running since a crash forgot their end when their node registers, which an
#: operator's `scontrol reconfigure` makes it do at once, and only once slurmctld was up for 20 s.
_QUIET_SHARE, _QUIET_S, _AFTER_S = 0.25, 22.0, (2.0, 8.0)
_SLOW = Kind("slow", frozenset({"succeeded"}), "time.sleep(6)", weight=3)


def run(setup: Setup, faults: int | None) -> Result:
    """Kill slurmctld so often (100 times by default) and start it again, under our tasks and foreign jobs."""
    lab, rng = require_lab(setup), random.Random(setup.seed)  # noqa: S311 - a plan that can be replayed
    with (
        looking_after_nodes(lab),
        open_trial(replace(setup, kinds=(*setup.kinds, _SLOW))) as trial,
        running_foreign(lab, trial.house.folder, setup.seed) as foreign,
    ):
        trial.before_judging = lambda shown: _finish(trial, lab, foreign, shown)
        while trial.result.faults < (faults or 100):
            trial.result.faults += _crash(lab, rng, trial, foreign)
    return trial.result


def _crash(lab: Lab, rng: random.Random, trial: Trial, foreign: Foreign) -> int:
    """One cycle; 0 if no job of ours was accepted within the seconds before it."""
    is_working, slurmd = rng.random() < 0.7, rng.randrange(_SLURMD_EVERY) == 0
    if is_working:  # in the others slurmctld dies again before its nodes are back
        _wait_for(lab, "started")
    if rng.randrange(_SLURMD_EVERY) == 0:
        lose_node(lab, rng.choice(NODES), trial, with_jobs=rng.random() < 0.5)
        trial.result.counts["of these beside a living slurmctld"] += 1
    if rng.random() < _QUIET_SHARE:
        time.sleep(_QUIET_S)
        controls.reconfigure(lab)
        time.sleep(rng.uniform(*_AFTER_S))  # what waited for a place starts, and comes to its end
    _wait_for(lab, "accepted")
    time.sleep(rng.uniform(0, rng.choice((_AT_ONCE_S, _WITHIN_S))))
    killed_s = _kill_controller(lab, rng, trial)
    if slurmd:
        lose_node(lab, rng.choice(NODES), trial, with_jobs=rng.random() < 0.5)
    time.sleep(rng.uniform(0, 1))
    daemons.start_slurmctld(lab)
    return int(is_in_window(killed_s, foreign.find_ours(read_controller_log(lab))))


def _kill_controller(lab: Lab, rng: random.Random, trial: Trial) -> float:
    """Kill slurmctld, in some cycles the agent just before or after it; when slurmctld died (seconds since 1970)."""
    is_agent_killed, is_agent_first = rng.random() < _AGENT_SHARE, rng.random() < 0.5
    if is_agent_killed and is_agent_first:
        trial.house.kill("agent")
    controls.kill_slurmctld(lab)
    killed_s = time.time()
    trial.result.kills += 1 + is_agent_killed
    if is_agent_killed:
        if not is_agent_first:
            trial.house.kill("agent")
        trial.house.start("agent")
        trial.result.counts["agents killed with slurmctld"] += 1
    return killed_s


def is_in_window(killed_s: float, accepted: Sequence[LogLine]) -> bool:
    """Whether slurmctld may have forgotten one of these, by when it was killed."""
    return any(0 <= killed_s - line.at_s <= _WITHIN_S for line in accepted)


def _wait_for(lab: Lab, what: str) -> None:
    """Wait until slurmctld has done it once more, but not for ever: the cycle then counts for less."""
    before = _count(lab, what)
    processes.wait_until(lambda: _count(lab, what) > before, timeout_s=_PATIENCE_S, pause_s=0.1)


def _count(lab: Lab, what: str) -> int:
    return sum(line.what == what for line in read_controller_log(lab))


def _finish(trial: Trial, lab: Lab, foreign: Foreign, shown: Mapping[str, Shown]) -> None:
    """Allow what Slurm itself cut off, and look for what was done to foreign jobs."""
    allow_cut_off(lab, trial, shown)
    trial.stream.failures += foreign.find_harm(shown, read_ledger(trial.stream.ledger))
    accepted = Counter(line.job_id for line in read_controller_log(lab) if line.what == "accepted")
    trial.result.counts["ids given again"] += accepted.total() - len(accepted)
    trial.result.counts.update(foreign.count())  # += would drop the zeros
