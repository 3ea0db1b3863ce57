"""The stand-in's memory: one folder with settings, one file a job, a lock, and a line for every call.

Whoever changes a job holds `locked`. Files appear whole (rename). A job's *key* is its own for ever; its *id* is what
Slurm shows, and the faults can give it to another job.
"""

import contextlib
import json
import os
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from lab import files

Job = dict[str, Any]

NODES = ("n1", "n2", "n3")
CPUS_PER_NODE = 4
MEMORY_MB = 4000
PARTITIONS = {"cpu": NODES, "gpu": NODES[-1:]}
MAX_TIME_MIN = 1440
ACCOUNT = "twinscie"
VERSION = "22.05.8"
ACTIVE = ("PENDING", "RUNNING", "SUSPENDED", "CONFIGURING", "COMPLETING")
DEFAULTS: dict[str, Any] = {
    "slots": 12,  # how many jobs may run at once, whatever CPUs they ask for
    "min_job_age_s": 30,
    "kill_wait_s": 5,
    "minute_s": 60.0,  # how long a minute of a time limit lasts
    "accounting": True,
}


def locked(folder: Path) -> AbstractContextManager[None]:
    """Keep every other command and runner of this stand-in waiting."""
    return files.locked(folder / "lock")


def read_settings(folder: Path) -> dict[str, Any]:
    """Return the settings, defaults filled in."""
    try:
        chosen: dict[str, Any] = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        chosen = {}
    return DEFAULTS | chosen


def take_number(folder: Path, name: str = "next_id") -> int:
    """Return the next number of a row, beginning with 1. Call it under the lock."""
    path = folder / name
    number = int(path.read_text(encoding="ascii")) if path.exists() else 1
    files.write_json(path, number + 1)
    return number


def write_job(folder: Path, job: Job) -> None:
    """Keep a job."""
    files.write_json(folder / "jobs" / f"{job['key']}.json", job)


def read_job(folder: Path, key: str) -> Job | None:
    """Return one job by its key, whether Slurm would still show it or not."""
    for path in (folder / "jobs" / f"{key}.json", folder / "old" / f"{key}.json"):
        with contextlib.suppress(FileNotFoundError):
            job: Job = json.loads(path.read_text(encoding="utf-8"))
            return job
    return None


def list_jobs(folder: Path, *, old: bool = False) -> list[Job]:
    """Return the jobs that squeue may show, oldest first; with `old` also those that only sacct knows."""
    paths = [*(folder / "jobs").glob("*.json"), *((folder / "old").glob("*.json") if old else ())]
    found = []
    for path in sorted(paths, key=lambda each: each.name):
        with contextlib.suppress(FileNotFoundError):  # just moved from jobs to old
            found.append(json.loads(path.read_text(encoding="utf-8")))
    return found


def find_job(folder: Path, job_id: int) -> Job | None:
    """Return the job that now has this id."""
    found = [job for job in list_jobs(folder) if job["id"] == job_id]
    return found[-1] if found else None


def forget_job(folder: Path, job: Job) -> None:
    """Take a job out of squeue's sight; accounting keeps it."""
    with contextlib.suppress(FileNotFoundError):
        (folder / "jobs" / f"{job['key']}.json").replace(folder / "old" / f"{job['key']}.json")


def is_active(job: Job) -> bool:
    """Tell whether a job is not over."""
    return job["state"] in ACTIVE


def log_call(folder: Path, command: str, arguments: list[str]) -> None:
    """Add one line about a call; a single write, so that lines never mix."""
    line = json.dumps({"at": time.time(), "command": command, "arguments": arguments, "pid": os.getpid()}) + "\n"
    file = os.open(folder / "calls.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)
