"""Folders and files of the gateway are for its account only, whatever the umask."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.app import open_database
from gateway.settings import GatewaySettings
from tests.gateway.build import good_parts, part
from tests.gateway.fixtures import eventually, open_house
from tests.gateway.process import serving


@pytest.fixture(params=[0o000, 0o022, 0o027], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def list_open(folder: Path) -> dict[str, str]:
    """What others may read, write or enter."""
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in [folder, *folder.rglob("*")]}
    return {str(path): f"{mode:04o}" for path, mode in modes.items() if mode & 0o077}


@pytest.mark.usefixtures("umask")
async def test_what_the_gateway_keeps_is_its_own(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.agent.report(await house.make_task(), "running", job_id="7", node="n")
        house.agent.spool.rename(tmp_path / "away")  # so that the files stay in the data folder
        await house.submit(parts=[*good_parts(), part("data.csv", b"1,2")])
        await eventually(lambda: any((house.settings.files).rglob("data.csv")))

        assert list_open(house.settings.data_dir) == {}
        assert {path.name for path in house.settings.data_dir.iterdir()} >= {"files", "staging", "cache"}
        assert list(house.settings.data_dir.glob("gateway.sqlite-wal"))


@pytest.mark.usefixtures("umask")
def test_the_lock_and_the_database_of_a_process_are_its_own(tmp_path: Path) -> None:
    with serving("--port", "0", "--data-dir", str(tmp_path / "data")):
        assert list_open(tmp_path / "data") == {}
        assert (tmp_path / "data" / "lock").exists()


def test_what_was_open_is_tightened_and_said_once(tmp_path: Path) -> None:
    settings = GatewaySettings(data_dir=tmp_path / "data")
    (tmp_path / "data" / "files").mkdir(parents=True)
    (tmp_path / "data" / "files").chmod(0o775)
    (tmp_path / "data").chmod(0o755)
    with sqlite3.connect(tmp_path / "data" / "gateway.sqlite") as made:
        made.execute("pragma user_version = 0")
    made.close()
    (tmp_path / "data" / "gateway.sqlite").chmod(0o664)

    with capture_logs() as first:
        open_database(settings).close()
    with capture_logs() as second:
        open_database(settings).close()

    assert {Path(line["path"]).name for line in first if line["event"] == "mode_tightened"} == {
        "data", "files", "gateway.sqlite",
    }  # fmt: skip
    assert second == []
    assert list_open(tmp_path / "data") == {}


def test_what_is_somebody_elses_is_named_and_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    (tmp_path / "data").chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    with capture_logs() as logs:
        open_database(GatewaySettings(data_dir=tmp_path / "data")).close()

    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o755
    assert "folder_too_open" in [line["event"] for line in logs]
