"""Processes are ended by who they are, also those that are started while others are being ended."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import processes
from lab.errors import LabError
from lab.slurm import daemons
from lab.slurm.layout import Lab, LabOptions, Ports


@pytest.fixture
def sleepers() -> Iterator[list[subprocess.Popen[bytes]]]:
    started = [subprocess.Popen(["sleep", "600"]) for _ in range(2)]
    yield started
    for each in started:
        each.kill()
        each.wait()


def test_what_is_started_while_others_are_killed_is_killed_too(sleepers: list[subprocess.Popen[bytes]]) -> None:
    found = [process for each in sleepers if (process := processes.read_process(each.pid)) is not None]
    looks = iter([found[:1], found[1:], []])
    assert len(found) == 2
    processes.kill_all(lambda: next(looks))

    assert not any(processes.is_running(process) for process in found)


def test_what_comes_again_and_again_is_said(sleepers: list[subprocess.Popen[bytes]]) -> None:
    found = [process for each in sleepers if (process := processes.read_process(each.pid)) is not None]
    with pytest.raises(LabError, match="faster than they are killed"):
        processes.kill_all(lambda: found)


def test_a_job_of_the_same_number_in_another_lab_is_not_this_ones(tmp_path: Path) -> None:
    here, there = (Lab(LabOptions(dir=tmp_path / name), Ports(1, 2, (3,))) for name in ("here", "there"))
    started = [
        subprocess.Popen(["sleep", "600"], env={**os.environ, "SLURM_CONF": str(lab.slurm_conf), "SLURM_JOB_ID": job})
        for lab, job in ((here, "7"), (there, "7"), (here, "8"))
    ]
    try:
        assert [process.pid for process in daemons.find_processes_of(here, "7")] == [started[0].pid]
    finally:
        for each in started:
            each.kill()
            each.wait()
