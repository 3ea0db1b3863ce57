"""Brings a lab up, tells how it is, and takes it down without leaving a process behind."""

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lab import processes
from lab.errors import LabError
from lab.files import locked
from lab.packages import ensure_programs, read_slurm_version
from lab.slurm import accounting, daemons
from lab.slurm.config import render_cgroup_conf, render_gres_conf, render_slurm_conf, render_slurmdbd_conf
from lab.slurm.layout import (
    ACCOUNT,
    NODES,
    Lab,
    LabOptions,
    make_private_folder,
    read_lab,
    read_user_name,
    reserved_ports,
    write_lab,
)

SLURMDS = tuple(f"slurmd-{node}" for node in NODES)
DAEMONS = ("slurmctld", *SLURMDS, "slurmdbd", "mariadbd", "munged")


def up(options: LabOptions) -> Lab:
    """Bring up the lab of `options.dir`, or return it as it is when it is already up."""
    folder = options.dir.resolve()
    if any(letter.isspace() or letter in ",#=\"'%" for letter in str(folder)):
        raise LabError(
            f"slurm.conf cannot hold the path {str(folder)!r}. Give a folder without spaces, commas and signs."
        )
    chosen = replace(options, dir=folder)
    ensure_programs(accounting=options.accounting)
    make_private_folder(folder, 0o755)
    with locked(folder / "lock"):  # a second `up` waits for the first, and finds its lab
        known = read_lab(folder)
        if known is not None and is_up(known):
            return _checked(known, chosen)
        if known is not None:
            _clear_leftovers(known, chosen)
        return _start(chosen, known)


def _checked(known: Lab, chosen: LabOptions) -> Lab:
    if known.options != chosen:
        raise LabError(
            f"A lab with other options is up in {known.dir}. Take it down first: python -m lab down --dir {known.dir}"
        )
    return known


def _start(chosen: LabOptions, known: Lab | None) -> Lab:
    with reserved_ports(known.ports if known else None) as ports:
        lab = Lab(chosen, ports)
        try:
            _start_all(lab)
            lab.ready_mark.touch()
        except BaseException:
            _end_processes(lab)
            raise
    return lab


def is_up(lab: Lab) -> bool:
    """Tell whether the lab came up wholly, every daemon runs and slurmctld answers."""
    return lab.ready_mark.exists() and all(alive for alive in daemon_states(lab).values()) and daemons.is_answering(lab)


def daemon_states(lab: Lab) -> dict[str, bool]:
    """Return for each daemon of this lab whether it runs."""
    known = processes.read_pids(lab.dir)
    wanted = [name for name in DAEMONS if lab.options.accounting or name not in ("slurmdbd", "mariadbd")]
    return {name: name in known and processes.is_running(known[name]) for name in wanted}


def down(lab: Lab) -> None:
    """End every process of the lab, jobs included, and return when they are gone. The folder stays."""
    owner = lab.dir.stat().st_uid
    if os.geteuid() not in (0, owner):
        raise LabError(f"The lab in {lab.dir} belongs to user id {owner}, and only that user or root can end it.")
    with locked(lab.dir / "lock"):
        _end_processes(lab)


def _end_processes(lab: Lab) -> None:
    lab.ready_mark.unlink(missing_ok=True)
    known = processes.read_pids(lab.dir)

    def stop(*names: str, timeout_s: float = 10) -> None:
        processes.stop([known[name] for name in names if name in known], timeout_s=timeout_s)

    # Nobody is left without the one it reports to.
    stop("slurmctld")
    # A slurmd that has not registered yet asks for slurmctld for ten seconds and heeds no signal (22.05.8)
    stop(*SLURMDS, timeout_s=2)
    processes.stop(daemons.find_job_processes(lab), sig=signal.SIGKILL)
    for name in ("slurmdbd", "mariadbd", "munged"):
        stop(name)
    processes.stop(daemons.find_unrecorded(lab), timeout_s=2)
    (lab.dir / "pids.json").unlink(missing_ok=True)
    if lab.run_dir != lab.dir:
        shutil.rmtree(lab.run_dir, ignore_errors=True)


@contextlib.contextmanager
def running_lab(options: LabOptions | None = None, **changes: object) -> Iterator[Lab]:
    """Keep a lab up for a `with` block; without a folder it gets a temporary one, which goes with it.

    `changes` are fields of LabOptions.
    """
    folder = None
    if options is None and "dir" not in changes:
        folder = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp"))
        folder.chmod(0o755)
        changes["dir"] = folder
    chosen = replace(options, **changes) if options else LabOptions(**changes)  # type: ignore[arg-type]
    lab = None
    try:
        lab = up(chosen)
        yield lab
    finally:
        if lab is not None:
            down(lab)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def wait_ready(lab: Lab, *, timeout_s: float = 30) -> None:
    """Wait until all nodes answer and a job has run through; raise with the end of the log that tells why not."""
    started = time.monotonic()
    if not processes.wait_until(lambda: _are_nodes_usable(lab), timeout_s=timeout_s):
        _raise_unready(lab, f"the nodes are {read_node_states(lab)}")
    job_id = ""

    def has_submitted() -> bool:
        nonlocal job_id
        words = ["-J", "lab-ready", f"--account={ACCOUNT}", "-o", "/dev/null", "--wrap", "true"]
        done = daemons.run_client(lab, ["sbatch", "--parsable", *words])
        job_id = done.stdout.strip()
        return done.returncode == 0

    left_s = max(5.0, timeout_s - (time.monotonic() - started))
    if not processes.wait_until(has_submitted, timeout_s=left_s, pause_s=0.2):
        _raise_unready(lab, "sbatch is refused")
    if not processes.wait_until(lambda: _has_run(lab, job_id), timeout_s=left_s):
        _raise_unready(lab, f"job {job_id} (true) does not end")


def read_node_states(lab: Lab) -> dict[str, str]:
    """Return the state of each node as sinfo shows it, without its marks."""
    done = daemons.run_client(lab, ["sinfo", "-h", "-N", "-o", "%N %T"])
    pairs = (line.split() for line in done.stdout.splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def _has_run(lab: Lab, job_id: str) -> bool:
    done = daemons.run_client(lab, ["squeue", "-h", "-t", "all", "-j", job_id, "-o", "%T"])
    return done.returncode == 0 and done.stdout.strip() in ("", "COMPLETED")


def _are_nodes_usable(lab: Lab) -> bool:
    states = read_node_states(lab)
    for node, state in states.items():  # a lab that comes back from a saved state may remember a node as down
        if state.rstrip("*") in ("down", "drained"):
            daemons.run_client(lab, ["scontrol", "update", f"nodename={node}", "state=resume"])
    return set(states) == set(NODES) and set(states.values()) <= {"idle", "mixed", "allocated", "completing"}


def _raise_unready(lab: Lab, why: str) -> None:
    tails = [f"{name}:\n{daemons.read_log_tail(lab, name)}" for name in ("slurmctld", "slurmd-n1")]
    raise LabError(f"The lab in {lab.dir} does not become ready: {why}. " + "\n".join(tails))


def _clear_leftovers(known: Lab, chosen: LabOptions) -> None:
    """End what a killed lab left running; forget a state that was kept with the other kind of accounting."""
    _end_processes(known)
    if known.options.accounting != chosen.accounting:
        for name in ("state", "mariadb", "spool"):
            shutil.rmtree(known.dir / name, ignore_errors=True)


def _start_all(lab: Lab) -> None:
    _write_files(lab)
    daemons.start_munged(lab)
    if lab.options.accounting:
        accounting.start_database(lab)
        accounting.start_slurmdbd(lab)
        accounting.add_account(lab, read_user_name())
    for node in NODES:
        daemons.start_slurmd(lab, node)
    daemons.start_slurmctld(lab)
    if lab.options.accounting:
        accounting.wait_registered(lab)
    wait_ready(lab)


def _write_files(lab: Lab) -> None:
    if lab.run_dir != lab.dir:
        make_private_folder(lab.run_dir)
    for name in ("state", "logs"):
        (lab.dir / name).mkdir(exist_ok=True)
    user = read_user_name()
    version = read_slurm_version()
    lab.slurm_conf.write_text(render_slurm_conf(lab, user, version), encoding="utf-8")
    (lab.dir / "gres.conf").write_text(render_gres_conf(), encoding="utf-8")
    (lab.dir / "cgroup.conf").write_text(render_cgroup_conf(version), encoding="utf-8")
    if lab.options.accounting:
        secret = lab.dir / "slurmdbd.conf"  # slurmdbd insists on 600
        secret.touch(mode=0o600)
        secret.write_text(render_slurmdbd_conf(lab, user), encoding="utf-8")
    write_lab(lab)
