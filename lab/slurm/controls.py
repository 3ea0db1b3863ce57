"""What tests do to a running lab: kill, freeze and restart its daemons, take nodes away, change partitions."""

import os
import signal

from lab import processes
from lab.errors import LabError
from lab.slurm import cluster, daemons
from lab.slurm.layout import Lab


def kill_slurmctld(lab: Lab) -> None:
    """End the controller with KILL, as a crash would: what it had not saved is gone."""
    _kill(lab, "slurmctld")


def stop_slurmctld(lab: Lab) -> None:
    """End the controller in order: it saves its state first."""
    processes.stop([processes.read_pids(lab.dir)["slurmctld"]])


def start_slurmctld(lab: Lab, *, with_partitions: bool = False) -> None:
    """Start a stopped or killed controller and wait until it answers and a job runs through.

    `with_partitions` keeps what `set_partition` set. No job may run then, so that none is tried.
    """
    daemons.start_slurmctld(lab, with_partitions=with_partitions)
    if not with_partitions:
        cluster.wait_ready(lab)


def freeze(lab: Lab, daemon: str = "slurmctld") -> None:
    """Stop a daemon without ending it: its port takes connections and nobody answers."""
    os.kill(processes.read_pids(lab.dir)[daemon].pid, signal.SIGSTOP)


def thaw(lab: Lab, daemon: str = "slurmctld") -> None:
    """Let a frozen daemon go on."""
    os.kill(processes.read_pids(lab.dir)[daemon].pid, signal.SIGCONT)


def kill_slurmd(lab: Lab, node: str, *, with_jobs: bool = False) -> None:
    """End a node's slurmd with KILL; with its jobs it is a node that lost its power."""
    _kill(lab, f"slurmd-{node}")
    if with_jobs:
        processes.stop(daemons.find_job_processes(lab, node), sig=signal.SIGKILL)


def start_slurmd(lab: Lab, node: str) -> None:
    """Start a node's slurmd again and wait until the node is usable."""
    daemons.start_slurmd(lab, node)
    resume_node(lab, node)


def set_node_down(lab: Lab, node: str, reason: str = "lab") -> None:
    """Declare a node down: its jobs end as NODE_FAIL at once, or are requeued if they allow it (sbatch's default)."""
    scontrol(lab, "update", f"nodename={node}", "state=down", f"reason={reason}")


def resume_node(lab: Lab, node: str, *, timeout_s: float = 30) -> None:
    """Take a node back into service and wait until it is usable."""

    def is_usable() -> bool:
        state = cluster.read_node_states(lab).get(node, "")
        if state.rstrip("*") in ("down", "drained", "drain"):
            daemons.run_client(lab, ["scontrol", "update", f"nodename={node}", "state=resume"])
        return state in ("idle", "mixed", "allocated", "completing")

    if not processes.wait_until(is_usable, timeout_s=timeout_s, pause_s=0.1):
        log = daemons.read_log_tail(lab, f"slurmd-{node}")
        raise LabError(f"Node {node} does not come back within {timeout_s:g} s. The end of its log:\n{log}")


def set_partition(lab: Lab, partition: str, state: str) -> None:
    """Set a partition up, down, drain or inactive."""
    scontrol(lab, "update", f"partitionname={partition}", f"state={state}")


def reconfigure(lab: Lab) -> None:
    """Let all daemons read slurm.conf again."""
    scontrol(lab, "reconfigure")


def scontrol(lab: Lab, *words: str) -> str:
    """Run scontrol; return what it printed, or raise with what it complained about."""
    done = daemons.run_client(lab, ["scontrol", *words])
    if done.returncode:
        raise LabError(f"scontrol {' '.join(words)} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _kill(lab: Lab, daemon: str) -> None:
    processes.stop([processes.read_pids(lab.dir)[daemon]], sig=signal.SIGKILL)
