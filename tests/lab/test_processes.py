"""Processes are ended by who they are, also those that are started while others are being ended."""

import subprocess
from collections.abc import Iterator

import pytest

from lab import processes
from lab.errors import LabError


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
