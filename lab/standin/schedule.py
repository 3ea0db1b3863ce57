"""Starts what fits, notices runners that died, and forgets what is old. Every command comes by here, under the lock."""

import os
import signal
import time
from pathlib import Path

from lab import files, processes
from lab.standin import faults, state


def start_what_fits(folder: Path) -> None:
    """Bring the whole queue up to date. Call it under the lock."""
    settings = state.read_settings(folder)
    jobs = state.list_jobs(folder)
    for job in jobs:
        if job["state"] == "RUNNING" and not any(is_copy_running(copy) for copy in job["copies"].values()):
            _end_without_runner(folder, job)
        if not state.is_active(job) and time.time() - job["end"] > settings["min_job_age_s"]:
            state.forget_job(folder, job)
    running = [job for job in jobs if job["state"] == "RUNNING"]
    for job in [job for job in jobs if job["state"] == "PENDING"]:
        reason, node = find_place(job, jobs, running, int(settings["slots"]))
        if node:
            start(folder, job, node)
            running.append(job)
        elif job["reason"] != reason:
            job["reason"] = reason
            state.write_job(folder, job)


def find_place(job: state.Job, jobs: list[state.Job], running: list[state.Job], slots: int) -> tuple[str, str]:
    """Return why the job must wait, or the node it can start on. A thousand may wait: what costs little comes first."""
    if job["hold"]:
        return "JobHeldUser", ""
    if job["begin"] is not None and job["begin"] > time.time():
        return "BeginTime", ""
    if beyond := find_limit(job):
        return beyond, ""
    if job["dependency"] and any(_is_awaited(job, other) for other in jobs):
        return "Dependency", ""
    if len(running) >= slots:
        return "Resources", ""
    for node in state.PARTITIONS[job["partition"]]:
        used = sum(min(other["cpus"], state.CPUS_PER_NODE) for other in running if other["node"] == node)
        if used + min(job["cpus"], state.CPUS_PER_NODE) <= state.CPUS_PER_NODE:
            return "None", node
    return "Resources", ""


def find_limit(job: state.Job) -> str:
    """What of its partition's limits a job is beyond: it is accepted and never started (EnforcePartLimits=NO)."""
    nodes = len(state.PARTITIONS[job["partition"]])
    if job["limit_min"] > state.MAX_TIME_MIN:
        return "PartitionTimeLimit"
    if job["nodes"] > nodes:
        return "PartitionNodeLimit"
    return "PartitionConfig" if job["cpus"] > nodes * state.CPUS_PER_NODE else ""


def _is_awaited(job: state.Job, other: state.Job) -> bool:
    if not state.is_active(other) or other["key"] == job["key"]:
        return False
    if job["dependency"] == "singleton":
        return bool(other["name"] == job["name"] and other["uid"] == job["uid"] and other["key"] < job["key"])
    return str(other["id"]) in job["dependency"].split(":")[1:]


def start(folder: Path, job: state.Job, node: str) -> None:
    """Start a job on a node, in as many copies as the faults ask for."""
    job |= {"state": "RUNNING", "reason": "None", "node": node, "start": time.time()}
    state.write_job(folder, job)
    start_copy(folder, job, wait_s=0)
    fault = faults.choose_fault(folder, "start")
    if fault is not None:
        start_copy(folder, job, wait_s=float(fault.get("seconds", 0)))


def start_copy(folder: Path, job: state.Job, *, wait_s: float) -> None:
    """Start one more runner for a job; the second has the same job id as the first."""
    number = str(len(job["copies"]) + 1)
    with (folder / "runners.log").open("ab") as log:
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, log.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, log.fileno(), 2),
        ]
        # Its signals are blocked from the start: a cancel may come before it is ready for it.
        pid = os.posix_spawn(
            folder / "runner",
            [str(folder / "runner"), job["key"], number, str(wait_s)],
            {"PATH": os.environ.get("PATH", os.defpath), "STANDIN_DIR": str(folder)},
            file_actions=actions,
            setsid=True,
            setsigmask=[signal.SIGUSR1, signal.SIGCHLD],
        )
    process = processes.read_process(pid)
    job["copies"][number] = {"pid": pid, "started": process.started if process else 0}
    state.write_job(folder, job)


def is_copy_running(copy: dict[str, int]) -> bool:
    """Tell whether a copy's runner lives."""
    return processes.read_process(copy["pid"]) == processes.Process(copy["pid"], copy["started"])


def wake_runners(job: state.Job) -> None:
    """Let a job's runners look at the orders in its file."""
    for copy in job["copies"].values():
        if is_copy_running(copy):
            os.kill(copy["pid"], signal.SIGUSR1)


def note_process(folder: Path, pid: int) -> None:
    """Keep the pid of a process that must not outlive the stand-in."""
    process = processes.read_process(pid)
    if process is not None:
        files.write_json(folder / "pids" / str(pid), process.started)


def _end_without_runner(folder: Path, job: state.Job) -> None:
    """A job whose runner was killed looks like one whose node was lost."""
    job |= {"state": "NODE_FAIL", "reason": "NodeDown", "exit_code": "1:0", "end": time.time()}
    state.write_job(folder, job)
