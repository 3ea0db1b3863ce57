"""A link, a pipe or a way out that somebody planted is never followed, waited for or written to."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from mltm.runtime import hostile_files


def test_a_link_to_the_trusted_folder_is_followed_and_one_below_it_is_not(tmp_path: Path) -> None:
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "planted").symlink_to("inner")

    with hostile_files.open_folder_below(tmp_path / "link", ["inner"]) as folder:
        assert hostile_files.list_names(folder) == []
    with pytest.raises(OSError, match="symbolic link") as met, hostile_files.open_folder_below(tmp_path, ["link"]):
        pass
    assert met.value.errno == errno.ELOOP
    with (
        pytest.raises(OSError, match="symbolic link"),
        hostile_files.open_folder_below(tmp_path / "real", ["planted"]),
    ):
        pass
    with pytest.raises(OSError, match="symbolic link"), hostile_files.open_folder(tmp_path / "link" / "inner"):
        pass


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/etc/hostname")])
def test_only_a_regular_file_is_opened(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "planted")
    with pytest.raises(OSError, match=r"."), hostile_files.open_file_below(tmp_path, ["planted"]):
        pass


@pytest.mark.parametrize("parts", [[], [""], ["."], [".."], ["a", "..", "b"], ["a/b"], ["a\0"], ["a"] * 33])
def test_a_path_that_does_not_only_lead_down_is_not_opened(tmp_path: Path, parts: list[str]) -> None:
    with pytest.raises(FileNotFoundError), hostile_files.open_file_below(tmp_path, parts):
        pass


def test_a_folder_is_swapped_and_the_open_one_is_used_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "other").mkdir()
    with hostile_files.open_folder(tmp_path / "mine") as folder:
        (tmp_path / "mine").rename(tmp_path / "away")
        (tmp_path / "mine").symlink_to("other")
        hostile_files.write_new_at(folder, "new", b"whole", 0o640)

    assert (tmp_path / "away" / "new").read_bytes() == b"whole"
    assert list((tmp_path / "other").iterdir()) == []


@pytest.mark.parametrize("make", [Path.touch, os.mkfifo, lambda path: path.symlink_to("elsewhere")])
def test_what_has_the_name_already_is_not_written_to(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "new")
    with hostile_files.open_folder(tmp_path) as folder, pytest.raises(FileExistsError):
        hostile_files.write_new_at(folder, "new", b"whole", 0o640)
    assert not (tmp_path / "elsewhere").exists()


def test_entries_are_shown_as_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    with hostile_files.open_folder(tmp_path) as folder:
        entries = dict(hostile_files.read_entries(folder))

    assert (stat.S_ISREG(entries["file"].st_mode), entries["file"].st_size) == (True, 3)
    assert stat.S_ISLNK(entries["link"].st_mode)


def test_an_error_says_the_whole_path(tmp_path: Path) -> None:
    with hostile_files.open_folder(tmp_path) as folder, pytest.raises(FileNotFoundError) as met:
        hostile_files.open_at(folder, "gone")
    assert met.value.filename == str(tmp_path / "gone")
