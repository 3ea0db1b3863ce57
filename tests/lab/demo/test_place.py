"""The demo: its folder, its port, its processes, what it prints of a task, and its errors."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lab.demo.__main__ import main, print_result
from lab.demo.parts import start_slurm
from lab.demo.place import Place, end_process, find_process, read_place
from lab.errors import LabError
from lab.processes import Process, is_running, record_pid, spawn_daemon, stop
from mltm.contract.states import State
from mltm.contract.user_api import Event


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path, tmp_path / ".demo")
    found.root.mkdir()
    return found


@pytest.fixture
def sleeper(place: Place) -> Iterator[Process]:
    process = spawn_daemon(["sleep", "1000"], env={}, log=place.log("sleeper"), folder=place.root)
    yield process
    stop([process])


def test_it_lies_in_the_checkout_or_where_demo_dir_says(place: Place) -> None:
    usual = read_place(place.checkout, {})
    assert (usual.root, usual.shown_env) == (place.root, ".demo/env")
    other = read_place(place.checkout, {"DEMO_DIR": "/elsewhere"})
    assert (other.root, other.shown_env) == (Path("/elsewhere"), "/elsewhere/env")


def test_the_port_is_the_usual_one_the_wished_one_or_that_of_the_last_time_in_this_folder(place: Place) -> None:
    assert read_place(place.checkout, {}).url == "http://127.0.0.1:8008"
    assert read_place(place.checkout, {"DEMO_PORT": "9001"}).url == "http://127.0.0.1:9001"
    place.config("gateway").write_text("port = 9002\n")
    assert read_place(place.checkout, {}).url == "http://127.0.0.1:9002"
    assert read_place(place.checkout, {"DEMO_DIR": "/elsewhere"}).url == "http://127.0.0.1:8008"


@pytest.mark.parametrize("wished", ["", "0", "65536", "-1", "x", "٣"])
def test_a_wrong_port_is_refused_in_words(place: Place, wished: str) -> None:
    with pytest.raises(LabError, match=f"DEMO_PORT is '{wished}'; give a number from 1 to 65535"):
        read_place(place.checkout, {"DEMO_PORT": wished})


def test_a_running_demo_is_not_moved(place: Place, sleeper: Process) -> None:
    place.config("gateway").write_text("port = 9002\n")
    record_pid(place.root, "gateway", sleeper)
    assert read_place(place.checkout, {"DEMO_PORT": "9002"}).port == 9002
    with pytest.raises(LabError, match=r"already runs at http://127.0.0.1:9002\. To move it: make demo-down"):
        read_place(place.checkout, {"DEMO_PORT": "9001"})


def test_a_part_is_ended_once_and_a_later_process_with_its_number_never(place: Place, sleeper: Process) -> None:
    record_pid(place.root, "agent", Process(sleeper.pid, sleeper.started - 1))
    assert not end_process(place, "agent")
    assert is_running(sleeper)
    record_pid(place.root, "agent", sleeper)
    assert find_process(place, "agent") == sleeper
    assert end_process(place, "agent")
    assert not is_running(sleeper)
    assert not end_process(place, "agent")


def test_a_wrong_kind_of_slurm_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEMO_SLURM", "pbs")

    assert main(["up"]) == 1
    assert capsys.readouterr().err == "demo: DEMO_SLURM is 'pbs'; choose one of lab, site, standin.\n"


def test_a_site_without_slurm_is_told_in_words(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LabError, match=r"there is no sbatch in PATH\. Leave DEMO_SLURM out"):
        start_slurm(place, "site")


def test_the_messages_of_a_tasks_history_are_printed(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    event = Event(at=datetime(2026, 11, 29, tzinfo=UTC), state=State.RUNNING, message="It runs on n1.")
    print_result(place, {"task_id": "0" * 32, "state": "running", "history": [event.model_dump(mode="json")]})

    assert "  2026-11-29T00:00:00Z  running     It runs on n1.\n" in capsys.readouterr().out
