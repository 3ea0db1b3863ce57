"""Where the demo is put, which port its gateway gets, and what its `down` ends."""

import os
from pathlib import Path

import pytest

from lab.demo.__main__ import main, take_down
from lab.demo.parts import start_slurm
from lab.demo.place import Place, find_place
from lab.errors import LabError
from lab.processes import is_running, read_process, wait_until
from lab.standin_control import running_standin
from tests.lab.calls import submit


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path)
    found.root.mkdir()
    return found


def test_the_port_is_the_usual_one_the_wished_one_or_that_of_the_last_time(place: Place) -> None:
    assert find_place(place.checkout).url == "http://127.0.0.1:8008"
    assert find_place(place.checkout, "9001").url == "http://127.0.0.1:9001"
    place.gateway_config.write_text("port = 9002\n")
    assert find_place(place.checkout).url == "http://127.0.0.1:9002"


@pytest.mark.parametrize("wished", ["0", "65536", "-1", "http", "٣"])
def test_a_wrong_port_is_refused_in_words(place: Place, wished: str) -> None:
    with pytest.raises(LabError, match=r"DEMO_PORT is .*; it can be a number from 1 to 65535\."):
        find_place(place.checkout, wished)


def test_a_running_demo_is_not_moved(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.gateway_config.write_text("port = 9002\n")
    place.pid("gateway").write_text(f"{os.getpid()}\n")
    monkeypatch.setattr("lab.demo.place.is_running", lambda path, _: path == place.pid("gateway"))

    assert find_place(place.checkout, "9002").port == 9002
    with pytest.raises(LabError, match=r"already runs at http://127.0.0.1:9002\. To move it: make demo-down"):
        find_place(place.checkout, "9001")


def test_a_wrong_kind_of_slurm_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEMO_SLURM", "pbs")

    assert main(["up"]) == 1
    assert capsys.readouterr().err == "demo: DEMO_SLURM is 'pbs'; it can be lab, site, standin.\n"


def test_a_site_without_slurm_is_told_in_words(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LabError, match=r"there is no sbatch in PATH\. Leave DEMO_SLURM out"):
        start_slurm(place, "site")


@pytest.mark.standin
def test_down_ends_the_stand_ins_jobs(place: Place, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    with running_standin(place.standin) as standin:
        submit(standin, f"echo $$ >{mark}; sleep 1000")
        assert wait_until(lambda: mark.exists() and mark.read_text().endswith("\n"), timeout_s=10)
        process = read_process(int(mark.read_text()))

        take_down(place)
        assert process is not None
        assert not is_running(process)
