import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mltm.runtime import files

ONE, TWO = "1" * 32, "2" * 32


def test_the_first_record_decides_and_the_second_writer_is_told_which(tmp_path: Path) -> None:
    assert files.link_once(tmp_path / "claim", b"one", ONE) == b"one"
    assert files.link_once(tmp_path / "claim", b"two", TWO) == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["claim"]


def test_the_last_writer_of_advice_wins_and_nothing_else_is_left(tmp_path: Path) -> None:
    files.replace(tmp_path / "advice", b"one", ONE)
    files.replace(tmp_path / "advice", b"two", TWO, 0o600)
    assert (tmp_path / "advice").read_bytes() == b"two"
    assert (tmp_path / "advice").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["advice"]


def test_a_rename_has_one_winner(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"whole")
    assert files.move(tmp_path / "source", tmp_path / "target")
    assert not files.move(tmp_path / "source", tmp_path / "other")


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/etc/hostname")])
def test_only_a_regular_file_is_read(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "planted")
    with pytest.raises(files.NoFileError):
        files.read_bytes(tmp_path / "planted")
    assert files.read_bytes(tmp_path / "none") is None


def test_a_folder_of_our_own_is_never_a_link(tmp_path: Path) -> None:
    (tmp_path / "planted").symlink_to(tmp_path)
    with pytest.raises(NotADirectoryError):
        files.make_own_folder(tmp_path / "planted")
    files.make_own_folder(tmp_path / "own")
    files.make_own_folder(tmp_path / "own")
    assert (tmp_path / "own").stat().st_mode & 0o777 == 0o700
