"""What befalls a real Slurm's nodes in a trial: slurmds that die, an operator who takes nodes back, jobs cut off."""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from chaos.ledger import Shown, Start, read_ledger
from chaos.product.jobs import read_task_id
from chaos.real_slurm.slurm_log import LogLine, read_cut_off, read_given_up
from chaos.trial import Trial
from lab import processes
from lab.slurm import cluster, controls, daemons
from lab.slurm.layout import Lab

__all__ = ["allow_cut_off", "find_cut_off", "looking_after_nodes", "lose_node"]

_RESUME_EVERY_S = 2.0
_CUT_OFF = ("lost", "node_fail")
#: slurmd's cancel cannot be told from an admin's, and the code that it ends says by which signal.
_GIVEN_UP = ("cancelled", "failed")


@contextmanager
def looking_after_nodes(lab: Lab) -> Iterator[None]:
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


def lose_node(
    lab: Lab, node: str, trial: Trial, *, with_jobs: bool, meanwhile: Callable[[], object] = lambda: None
) -> None:
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
    meanwhile()
    daemons.start_slurmd(lab, node)
    trial.result.counts["slurmds killed with their jobs" if with_jobs else "slurmds killed"] += 1


def allow_cut_off(lab: Lab, trial: Trial, shown: Mapping[str, Shown]) -> None:
    """Let the tasks whose job Slurm itself ended while it ran end like that."""
    starts = read_ledger(trial.stream.ledger)
    for task_id in find_cut_off(shown, starts, read_cut_off(lab)):
        trial.stream.allow(task_id, *_CUT_OFF)
    for task_id in find_cut_off(shown, starts, read_given_up(lab)):
        trial.stream.allow(task_id, *_GIVEN_UP, is_code_killed=True)
        trial.result.counts["cancelled by slurmd itself"] += 1


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
