"""Labs whose daemons or whose `up` were killed: the next `up` works, and `down` leaves nothing."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import processes
from lab.slurm import cluster
from lab.slurm.layout import LabOptions, list_ports, read_lab, reserved_ports
from tests.lab.calls import submit, wait_state
from tests.lab.commands import AS_IT_IS, ended_lab, find_left

pytestmark = pytest.mark.slurm


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with ended_lab(tmp_path / "lab") as folder:
        yield folder


def check_whole(folder: Path, *, accounting: bool = False) -> None:
    """Bring the lab up, run a job, take it down: nothing of an earlier lab goes on beside it, and nothing is left."""
    before = find_left(folder)
    lab = cluster.up(LabOptions(folder, accounting=accounting))
    assert not [process for process in before if processes.is_running(process)]
    wait_state(lab, submit(lab, "true", "--account=twinscie"), "COMPLETED")
    cluster.down(lab)
    assert find_left(folder) == []


def test_a_lab_whose_daemons_were_killed_comes_up_again(folder: Path) -> None:
    lab = cluster.up(LabOptions(folder))
    job_id = submit(lab, "sleep 1000")
    wait_state(lab, job_id, "RUNNING")
    for process in processes.read_pids(folder).values():
        os.kill(process.pid, signal.SIGKILL)

    check_whole(folder)


def test_daemons_that_were_never_recorded_are_ended(folder: Path) -> None:
    lab = cluster.up(LabOptions(folder))
    (folder / "pids.json").unlink()
    assert len(find_left(folder)) >= 5

    cluster.down(lab)
    assert find_left(folder) == []


def kill_up(folder: Path, *arguments: str, at: str) -> None:
    """Kill a starting `up` with its session as soon as its folder holds `at`: a file, or a name among the daemons."""
    starting = AS_IT_IS.start("up", "--dir", str(folder), *arguments)
    reached = processes.wait_until(
        lambda: (folder / at).exists() or at in processes.read_pids(folder), timeout_s=30, pause_s=0.005
    )
    os.killpg(starting.pid, signal.SIGKILL)
    starting.communicate()
    assert reached
    assert starting.returncode == -signal.SIGKILL


def test_a_lab_that_never_came_up_wholly_is_started_anew(folder: Path) -> None:
    lab = cluster.up(LabOptions(folder))
    lab.ready_mark.unlink()  # as an `up` leaves it that is killed while it waits for the nodes

    check_whole(folder)


@pytest.mark.parametrize("at", ["munged", "slurmd-n2"])
def test_an_up_killed_in_the_middle_is_made_good_by_the_next(folder: Path, at: str) -> None:
    kill_up(folder, at=at)

    check_whole(folder)


def test_an_up_killed_in_the_middle_can_be_taken_down(folder: Path) -> None:
    kill_up(folder, "--accounting", at="mariadb.new/mysql")
    lab = read_lab(folder)
    assert lab is not None
    cluster.down(lab)

    assert find_left(folder) == []
    check_whole(folder, accounting=True)


def test_an_up_that_is_terminated_leaves_nothing(folder: Path) -> None:
    starting = AS_IT_IS.start("up", "--dir", str(folder))
    assert processes.wait_until(lambda: "slurmd-n1" in processes.read_pids(folder), timeout_s=30, pause_s=0.005)
    starting.terminate()
    starting.communicate(timeout=30)

    assert starting.returncode == 143
    assert find_left(folder) == []


def test_labs_that_start_at_once_get_ports_of_their_own() -> None:
    with reserved_ports(None) as first, reserved_ports(first) as second:
        assert not set(list_ports(first)) & set(list_ports(second))
    with reserved_ports(first) as again:
        assert again == first
