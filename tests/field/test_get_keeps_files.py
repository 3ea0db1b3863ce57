"""Fault 3b.12: `mltm get` overwrote files of the current folder without asking.

A user who types `mltm get TASK` in the folder of her code expects that no file of hers is lost: a script is refused,
a person is asked, and --force says that it is meant.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mltm.cli import exit_codes
from tests.field.terminal import run_on_terminal
from tests.mltm.cli.run import Mltm
from tests.mltm.client.fake_gateway import TASK_ID, FakeGateway

OUTPUTS = {"train.py": b"of the task", "metrics.json": b"{}", "sub/model.bin": b"model"}


def _write(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"mine")


def _link(path: Path) -> None:
    path.symlink_to("nowhere")


CASES: dict[str, tuple[str, Callable[[Path], None], tuple[str, ...]]] = {
    "3b.12: the user's script": ("train.py", _write, ()),
    "3b.12: the last of the outputs": ("metrics.json", _write, ()),
    "3b.12: in a folder below": ("sub/model.bin", _write, ()),
    "3b.12: named on the command line": ("train.py", _write, ("train.py",)),
    "3b.12: by the name of its folder": ("sub/model.bin", _write, ("sub",)),
    "3b.12: a link that leads nowhere": ("train.py", _link, ()),
}


@pytest.fixture
def folder(gateway: FakeGateway, tmp_path: Path) -> Path:
    gateway.outputs = dict(OUTPUTS)
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def _read(path: Path) -> bytes | str:
    return str(path.readlink()) if path.is_symlink() else path.read_bytes()


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(("name", "make", "paths"), CASES.values(), ids=CASES)
def test_a_script_is_refused(
    mltm: Mltm, folder: Path, name: str, make: Callable[[Path], None], paths: tuple[str, ...], as_json: bool
) -> None:
    make(folder / name)
    before = _read(folder / name)
    ran = mltm("get", TASK_ID, *paths, "-o", folder, *(("--json",) if as_json else ()))
    assert (ran.code, ran.out) == (exit_codes.WRONG, "")
    assert f"these files exist: {folder / name}." in ran.err
    assert "overwrite them with --force" in ran.err
    assert _read(folder / name) == before
    assert sum(file.is_file() or file.is_symlink() for file in folder.rglob("*")) == 1


@pytest.mark.parametrize(("name", "make", "paths"), CASES.values(), ids=CASES)
def test_force_overwrites(
    mltm: Mltm, folder: Path, name: str, make: Callable[[Path], None], paths: tuple[str, ...]
) -> None:
    make(folder / name)
    assert mltm("get", TASK_ID, *paths, "-o", folder, "--force").code == 0
    assert _read(folder / name) == OUTPUTS[name]


def test_the_current_folder_is_looked_at_too(mltm: Mltm, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(folder / "train.py")
    monkeypatch.chdir(folder)
    assert mltm("get", TASK_ID).code == exit_codes.WRONG
    assert _read(folder / "train.py") == b"mine"


def test_other_files_do_not_matter(mltm: Mltm, folder: Path) -> None:
    _write(folder / "train.py")
    assert mltm("get", TASK_ID, "metrics.json", "-o", folder).code == 0
    assert _read(folder / "train.py") == b"mine"


@pytest.mark.parametrize(
    ("typed", "code", "content"),
    [
        (b"y\n", 0, b"of the task"), (b"yes\n", 0, b"of the task"), (b"n\n", 2, b"mine"), (b"\n", 2, b"mine"),
        (b"\x03", 130, b"mine"),
    ],
)  # fmt: skip
def test_a_person_is_asked(mltm: Mltm, folder: Path, typed: bytes, code: int, content: bytes) -> None:
    _write(folder / "train.py")
    argv = mltm.argv("get", TASK_ID, "-o", folder)
    ended, shown = run_on_terminal(argv, {**os.environ, **mltm.env}, [("[y/N]", typed)])
    assert "These files exist" in shown
    assert (ended, _read(folder / "train.py")) == (code, content), shown


def test_json_is_for_programs_which_are_not_asked(mltm: Mltm, folder: Path) -> None:
    _write(folder / "train.py")
    argv = mltm.argv("get", TASK_ID, "-o", folder, "--json")
    ended, shown = run_on_terminal(argv, {**os.environ, **mltm.env}, [])
    assert (ended, _read(folder / "train.py")) == (2, b"mine"), shown
