"""The real slurmctld killed within seconds of a job of ours that it accepted, again and again.

Now and then the agent dies with it, and a slurmd with it or alone.
Slurm saves its state every five seconds at most: a crash forgets jobs that it took, gives their ids to others, and
starts some a second time. Jobs of the same user that are not ours run in the same Slurm, and must be left alone.
"""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from chaos.foreign import Foreign, running_foreign
from chaos.ledger import Shown, Start, read_ledger
from chaos.scenarios.kills import read_task_id
from chaos.slurm_log import LogLine, read_controller_log, read_cut_off, read_given_up
from chaos.stream import Kind
from chaos.trial import Result, Setup, Trial, open_trial, require_lab
from lab import cluster, controls, daemons, processes
from lab.layout import NODES, Lab

__all__ = ["find_cut_off", "is_in_window", "run"]

_WITHIN_S = 5.0  #: the window in which Slurm has not saved what it accepted
_AT_ONCE_S = 0.3
_PATIENCE_S = 20.0
_SLURMD_EVERY = 5  #: cycles: one in so many with slurmctld, and one in so many alone
_AGENT_SHARE = 0.3
#: Slurm corrects jobs that it shows as running since a crash forgot their end when their node registers, which an
#: operator's `scontrol reconfigure` makes it do at once, and only once slurmctld was up for 20 s.
_QUIET_SHARE, _QUIET_S, _AFTER_S = 0.25, 22.0, (2.0, 8.0)
_RESUME_EVERY_S = 2.0
_SLOW = Kind("slow", frozenset({"succeeded"}), "time.sleep(6)", weight=3)
_CUT_OFF = ("lost", "node_fail")
#: slurmd's cancel cannot be told from an admin's, and the code that it ends says by which signal.
_GIVEN_UP = ("cancelled", "failed")


def run(setup: Setup, faults: int | None) -> Result:
    """Kill slurmctld so often (100 times by default) and start it again, under our tasks and foreign jobs."""
    lab, rng = require_lab(setup), random.Random(setup.seed)  # noqa: S311 - a plan that can be replayed
    with (
        _looking_after_nodes(lab),
        open_trial(replace(setup, kinds=(*setup.kinds, _SLOW))) as trial,
        running_foreign(lab, trial.house.folder, setup.seed) as foreign,
    ):
        trial.before_judging = lambda shown: _finish(trial, lab, foreign, shown)
        while trial.result.faults < (faults or 100):
            trial.result.faults += _crash(lab, rng, trial, foreign)
    return trial.result


@contextmanager
def _looking_after_nodes(lab: Lab) -> Iterator[None]:
    """Be the operator: Slurm drains a node on which it finds a job that it wanted to start there."""
    done = threading.Event()

    def resume() -> None:
        while not done.wait(_RESUME_EVERY_S):
            for node, state in cluster.read_node_states(lab).items():
                if state.rstrip("*") in {"down", "drained", "draining"}:
                    daemons.run_client(lab, ["scontrol", "update", f"nodename={node}", "state=resume"])

    operator = threading.Thread(target=resume)
    operator.start()
    try:
        yield
    finally:
        done.set()
        operator.join()


def _crash(lab: Lab, rng: random.Random, trial: Trial, foreign: Foreign) -> int:
    """One cycle; 0 where no job of ours was accepted within the seconds before it."""
    is_working, slurmd = rng.random() < 0.7, rng.randrange(_SLURMD_EVERY) == 0
    if is_working:  # in the others slurmctld dies again before its nodes are back
        _wait_for(lab, "started")
    if rng.randrange(_SLURMD_EVERY) == 0:
        _lose_node(lab, rng.choice(NODES), trial, with_jobs=rng.random() < 0.5)
        trial.result.counts["of these beside a living slurmctld"] += 1
    if rng.random() < _QUIET_SHARE:
        time.sleep(_QUIET_S)
        controls.reconfigure(lab)
        time.sleep(rng.uniform(*_AFTER_S))  # what waited for a place starts, and comes to its end
    _wait_for(lab, "accepted")
    time.sleep(rng.uniform(0, rng.choice((_AT_ONCE_S, _WITHIN_S))))
    killed_s = _kill_controller(lab, rng, trial)
    if slurmd:
        _lose_node(lab, rng.choice(NODES), trial, with_jobs=rng.random() < 0.5)
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


def _lose_node(lab: Lab, node: str, trial: Trial, *, with_jobs: bool) -> None:
    """Kill a slurmd and start it again; with its jobs their tasks may end by that, without them they live on."""
    controls.kill_slurmd(lab, node)
    trial.result.kills += 1
    if with_jobs:
        found = daemons.find_job_processes(lab, node)
        processes.send(found, signal.SIGSTOP)  # so that none gets further than where its name is read
        for process in found:
            if task_id := read_task_id(process.pid, trial.house.spool):
                trial.stream.allow(task_id, *_CUT_OFF)
        processes.stop(found, sig=signal.SIGKILL)
    daemons.start_slurmd(lab, node)
    trial.result.counts["slurmds killed with their jobs" if with_jobs else "slurmds killed"] += 1


def _finish(trial: Trial, lab: Lab, foreign: Foreign, shown: Mapping[str, Shown]) -> None:
    """Allow what Slurm itself cut off, and look for what was done to foreign jobs."""
    starts = read_ledger(trial.stream.ledger)
    for task_id in find_cut_off(shown, starts, read_cut_off(lab)):
        trial.stream.allow(task_id, *_CUT_OFF)
    for task_id in find_cut_off(shown, starts, read_given_up(lab)):
        trial.stream.allow(task_id, *_GIVEN_UP, is_code_killed=True)
        trial.result.counts["cancelled by slurmd itself"] += 1
    trial.stream.failures += foreign.find_harm(shown, starts)
    accepted = Counter(line.job_id for line in read_controller_log(lab) if line.what == "accepted")
    trial.result.counts["ids given again"] += accepted.total() - len(accepted)
    trial.result.counts.update(foreign.count())  # += would drop the zeros


def find_cut_off(shown: Mapping[str, Shown], starts: Sequence[Start], cut_off: Sequence[LogLine]) -> set[str]:
    """The tasks whose job Slurm ended while it ran: by its id, at a time when the id was theirs.

    A task that never came to its first line has no such time: its id alone has to do.
    """
    found = set()
    for line in cut_off:
        before = [start for start in starts if start.job_id == line.job_id and start.at_s <= line.at_s]
        found |= {before[-1].task_id} if before else set()
    ids, ran = {line.job_id for line in cut_off}, {start.task_id for start in starts}
    return found | {task_id for task_id, row in shown.items() if task_id not in ran and row.job_id in ids}
