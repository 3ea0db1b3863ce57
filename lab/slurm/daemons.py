"""Starts each daemon of a lab and waits until it answers. Knows command lines; `cluster` knows the order."""

import os
import secrets
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from lab import processes
from lab.errors import LabError
from lab.packages import SBIN, find_program
from lab.slurm.layout import Lab, make_private_folder


def daemon_env(lab: Lab) -> dict[str, str]:
    """Return the environment of the lab's daemons: little, so that nothing of the caller leaks into jobs.

    LAB_DAEMON_OF is by what a daemon is found that an interrupted `up` had started and not yet recorded.
    """
    path = os.environ.get("PATH", os.defpath) + ":" + SBIN
    settings = {"SLURM_CONF": str(lab.slurm_conf), "HOME": str(lab.dir), "LAB_DAEMON_OF": str(lab.dir)}
    return {"PATH": path, "LANG": "C.UTF-8", **settings}


def run_client(lab: Lab, argv: Sequence[str], *, timeout_s: float = 30) -> subprocess.CompletedProcess[str]:
    """Run one of Slurm's own commands against this lab and return what it said; 124 is no answer in time."""
    env = os.environ | lab.env | {"LC_ALL": "C", "PATH": daemon_env(lab)["PATH"]}
    try:
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 124, "", f"{argv[0]} got no answer in {timeout_s:g} s")


def start(
    lab: Lab, name: str, argv: Sequence[str], *, env: dict[str, str] | None = None, folder: Path | None = None
) -> None:
    """Start one daemon under `name` (in `folder`, else the lab's) and record its pid."""
    program = find_program(argv[0])
    if program is None:
        raise LabError(f"There is no {argv[0]} on this machine.")
    process = processes.spawn_daemon(
        [program, *argv[1:]],
        env=daemon_env(lab) | (env or {}),
        log=lab.log_dir / f"{name}.out",
        folder=folder or lab.run_dir,
    )
    processes.record_pid(lab.dir, name, process)


def wait_for(lab: Lab, name: str, condition: Callable[[], bool], *, timeout_s: float) -> None:
    """Wait until a daemon does what `condition` asks; if it dies or is too slow, say so with the end of its log."""
    process = processes.read_pids(lab.dir)[name]
    processes.wait_until(lambda: condition() or not processes.is_running(process), timeout_s=timeout_s)
    if not condition():
        gone = "has ended" if not processes.is_running(process) else f"is not ready after {timeout_s:g} s"
        raise LabError(f"{name} {gone}. The end of its log:\n{read_log_tail(lab, name)}")


def is_listening(path: Path) -> bool:
    """Tell whether somebody answers at a socket; the file alone may be left of a daemon that was killed."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def read_log_tail(lab: Lab, name: str, lines: int = 15) -> str:
    """Return the last lines of a daemon's log; of its output if it came to no log."""
    paths = [path for path in (lab.log_of(name), lab.log_dir / f"{name}.out") if path.exists()]
    kept = paths[0].read_text(encoding="utf-8", errors="replace").splitlines()[-lines:] if paths else []
    return "\n".join(f"  {line}" for line in kept) or "  (it wrote nothing)"


def start_munged(lab: Lab) -> None:
    """Start the lab's own munged with the lab's own key."""
    folder = lab.munge_socket.parent
    make_private_folder(folder, 0o711)
    key = _make_key(lab.dir)
    start(
        lab,
        "munged",
        [
            "munged",
            "--foreground",
            "--force",  # folders below /tmp are not to its taste
            f"--key-file={key}",
            f"--socket={lab.munge_socket}",
            f"--pid-file={folder}/munged.pid",
            f"--log-file={lab.log_of('munged')}",
            f"--seed-file={lab.dir}/munge.seed",
            "--num-threads=2",
        ],
    )
    wait_for(lab, "munged", lambda: is_listening(lab.munge_socket), timeout_s=10)


def _make_key(folder: Path) -> Path:
    key, fresh = folder / "munge.key", folder / "munge.key.new"
    if not key.exists():
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=0o600)
        fresh.write_bytes(secrets.token_bytes(1024))
        fresh.chmod(0o400)
        fresh.replace(key)
    return key


def start_slurmctld(lab: Lab, *, with_partitions: bool = False) -> None:
    """Start the controller (from its saved state if there is one) and wait until it answers a ping.

    Slurm takes the partitions' states from slurm.conf again, or `with_partitions` from the saved state.
    """
    needed = ["clustername"]
    if lab.options.accounting:  # 26.05.5 starts again after a crash only if it saved this before, every five minutes
        needed.append("assoc_usage")
    is_young = any(not (lab.dir / "state" / name).exists() for name in needed)
    options = ["-R"] * with_partitions + ["-i"] * is_young
    start(lab, "slurmctld", ["slurmctld", "-D", *options])
    wait_for(lab, "slurmctld", lambda: is_answering(lab), timeout_s=30)


def is_answering(lab: Lab) -> bool:
    """Tell whether the lab's slurmctld answers."""
    return run_client(lab, ["scontrol", "ping"]).returncode == 0


def start_slurmd(lab: Lab, node: str) -> None:
    """Start the slurmd of one node; it registers by itself."""
    spool = lab.run_dir / "spool" / node
    spool.mkdir(parents=True, exist_ok=True)
    start(lab, f"slurmd-{node}", ["slurmd", "-D", "-N", node], folder=spool)


def find_unrecorded(lab: Lab) -> list[processes.Process]:
    """Return what the lab started and its record does not name: an `up` may be killed between the two."""
    return processes.with_descendants(processes.find_by_variables({"LAB_DAEMON_OF": str(lab.dir)}))


def find_processes_of(lab: Lab, job_id: str) -> list[processes.Process]:
    """Return what runs in one job. Another lab on this machine has a job of the same number."""
    return processes.find_by_variables({"SLURM_CONF": str(lab.slurm_conf), "SLURM_JOB_ID": job_id})


def find_job_processes(lab: Lab, node: str = "") -> list[processes.Process]:
    """Return slurmstepds and what they run, with all descendants; of one node only if it is named.

    A slurmstepd overwrites its environment with its title, so it is known by its working folder, which is its slurmd's.
    """
    marks = {os.fsencode(f"SLURM_CONF={lab.slurm_conf}")} | (
        {os.fsencode(f"SLURMD_NODENAME={node}")} if node else set()
    )
    folder = os.fsencode(lab.run_dir / "spool" / node) if node else os.fsencode(lab.run_dir / "spool")

    def belongs(pid: int) -> bool:
        if processes.read_proc_file(pid, "cmdline").startswith(b"slurmstepd"):
            return processes.read_working_folder(pid).startswith(folder)
        environ = set(processes.read_proc_file(pid, "environ").split(b"\0"))
        return environ >= marks and any(item.startswith(b"SLURM_JOB_ID=") for item in environ)

    return processes.with_descendants(processes.find_processes(belongs))
