"""Clients of the agent's for the lab's Slurm and for its stand-in, and requests that cost nothing."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from agent.settings import Bucket, SlurmSettings
from agent.slurm.client import Slurm
from agent.slurm.request import SubmitRequest
from agent.slurm.values import JobLine, JobList
from lab.processes import wait_until
from lab.slurm.layout import Lab
from lab.standin.control import Standin
from mltm.runtime.clock import Clock

AnySlurm = Lab | Standin
SECRET = "token-of-the-agent"


@contextmanager
def connect(where: AnySlurm, clock: Clock | None = None, **changes: object) -> Iterator[Slurm]:
    """The agent's client of this Slurm, with large buckets; `changes` are fields of SlurmSettings."""
    fields: dict[str, object] = {
        "conf": where.slurm_conf,
        "path": str(where.bin_dir) if isinstance(where, Standin) else None,
        "sbatch_bucket": Bucket(burst=1000, per_second=1000),
        "query_bucket": Bucket(burst=1000, per_second=1000),
        "sbatch_timeout_s": 30,
        "query_timeout_s": 30,
    }
    outer = {**os.environ, "TZ": "Asia/Tokyo", "SBATCH_PARTITION": "nope", "SQUEUE_STATES": "F", "AGENT_TOKEN": SECRET}
    slurm = Slurm(SlurmSettings.model_validate(fields | changes), outer, clock or Clock())
    try:
        yield slurm
    finally:
        slurm.close()


def build_request(folder: Path, script: str = "true", **changes: object) -> SubmitRequest:
    """A job of a name of its own that begins in an hour, unless `begin` says otherwise."""
    name = f"mltm-{uuid.uuid4().hex[:12]}-a01"
    path = folder / f"{name}.sh"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    request = SubmitRequest(name, folder, folder / f"{name}.out", path, begin="now+1hour")
    return replace(request, **changes)  # type: ignore[arg-type]  # fields by name


def find_job(slurm: Slurm, name: str) -> JobLine | None:
    """The one job of this name; None where it is not listed."""
    listed = slurm.list_jobs()
    assert isinstance(listed, JobList), listed
    found = listed.named(name)
    assert len(found) < 2, found
    return found[0] if found else None


def wait_for(slurm: Slurm, name: str, *states: str) -> JobLine:
    """The job of this name as soon as it is in one of these states."""

    def is_there() -> bool:
        job = find_job(slurm, name)
        return job is not None and job.state in states

    assert wait_until(is_there, timeout_s=20, pause_s=0.05), find_job(slurm, name)
    job = find_job(slurm, name)
    assert job is not None
    return job


def read_soon(path: Path, is_whole: Callable[[str], bool] = bool) -> str:
    """The text of a file that a job writes, once it is there and whole."""
    assert wait_until(lambda: path.exists() and is_whole(path.read_text(encoding="utf-8")), timeout_s=20, pause_s=0.05)
    return path.read_text(encoding="utf-8")


def is_group_gone(group: int) -> bool:
    """True once no process of this group runs."""
    return wait_until(
        lambda: not any(_group_of(entry) == group for entry in Path("/proc").glob("[0-9]*")), timeout_s=10
    )


def _group_of(entry: Path) -> int | None:
    try:
        state, _, group = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:3]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(group) if state != "Z" else None


def put_out_of_reach(lab: Lab, folder: Path, **changes: str) -> Lab:
    """The same lab seen through a slurm.conf with `changes`, such as a port on which nobody listens."""
    kept = [
        line for line in lab.slurm_conf.read_text(encoding="utf-8").splitlines() if line.split("=")[0] not in changes
    ]
    seen = replace(lab, options=replace(lab.options, dir=folder))
    text = "\n".join([*kept, *(f"{name}={value}" for name, value in changes.items())])
    seen.slurm_conf.write_text(text + "\n", encoding="utf-8")
    shutil.copy(lab.dir / "gres.conf", folder)
    return seen
