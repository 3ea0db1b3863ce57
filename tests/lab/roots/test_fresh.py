"""`make test-fresh`: a commit is cloned and its goals are made on a bare Debian, and nothing of that stays."""

import os
import subprocess
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.roots.fresh import build_environment, pack_commit, run_fresh, try_commit
from lab.roots.pip_settings import PipSettings
from lab.roots.roots import missing_for_roots

MAKEFILE = """\
bad:
\t@echo bad was tried; false
good:
\t@test "$$(id -u) $$CI" = "0 true" && test ! -x /usr/bin/curl && python3 -m venv /srv/venv
\t@cat kept && echo good was made
"""


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")
    return subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository of one commit, and a change that is in none."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "Makefile").write_text(MAKEFILE)
    (folder / "kept").write_text("of the commit\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "One")
    (folder / "kept").write_text("changed\n")
    return folder


def test_the_commit_is_packed_and_what_is_not_in_it_is_named(
    checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(tmp_path, "clone", "--quiet", str(pack_commit(checkout, tmp_path)), "clone")

    assert (tmp_path / "clone" / "kept").read_text() == "of the commit\n"
    assert git(tmp_path / "clone", "rev-parse", "HEAD") == git(checkout, "rev-parse", "HEAD")
    assert capsys.readouterr().err == "lab: the commit is tried, without these changes:\n M kept\n"


def test_a_folder_without_a_commit_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=f"git cannot pack the commit of {tmp_path}: fatal: "):
        pack_commit(tmp_path, tmp_path)


def test_inside_are_the_machines_package_settings_and_nothing_else_of_the_caller() -> None:
    built = build_environment(PipSettings({"PIP_CERT": "/a"}, ()), {"TERM": "xterm", "SECRET": "x", "MAKEFLAGS": "k"})

    assert built == {"PIP_CERT": "/a", "TERM": "xterm", "CI": "true", "XDG_CACHE_HOME": "/srv/cache"}


def test_an_unknown_debian_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(LabError, match=r"called buster or sid here\. Choose from: bookworm trixie"):
        run_fresh(["sid", "trixie", "buster"], [])


def test_an_ordinary_user_is_told_that_it_takes_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="takes root"):
        run_fresh([], [])


@pytest.mark.root
@pytest.mark.long
@pytest.mark.timeout(300)
def test_goals_are_made_on_a_bare_debian_and_one_that_fails_stops_no_other(
    checkout: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if missing := missing_for_roots():
        assert not os.environ.get("CI"), missing  # in CI no part may be missing
        return
    commit = pack_commit(checkout, tmp_path)

    assert try_commit("trixie", commit, ["good"])
    assert not try_commit("trixie", commit, ["bad", "good"])

    said = capfd.readouterr().out
    assert said.count("of the commit\ngood was made\n") == 2
    assert said.count("bad was tried") == 1
    assert "lab: a bare Debian trixie: passed after" in said
    assert "lab: a bare Debian trixie: failed (2) after" in said
