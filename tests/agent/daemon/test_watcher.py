"""News in the spool wakes the agent: by inotify on a local disk, by polling elsewhere and where inotify is used up."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from watchdog.events import FileCreatedEvent
from watchdog.observers.polling import PollingObserver

from agent.daemon.watcher import Watcher, _Bell, uses_inotify
from agent.settings import AgentSettings


@pytest.mark.parametrize(("mounted", "observer", "expected"), [
    ("ext4", "auto", True), ("nfs", "auto", False), ("nfs", "inotify", True), ("ext4", "polling", False),
])  # fmt: skip
def test_the_config_goes_before_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounted: str, observer: str, *, expected: bool
) -> None:
    (tmp_path / "mountinfo").write_text(f"22 1 254:0 / / rw - {mounted} x rw\n")
    monkeypatch.setattr("mltm.runtime.mounts.MOUNTINFO", tmp_path / "mountinfo")

    assert uses_inotify(make_settings(tmp_path, observer), tmp_path) is expected


def test_an_inbox_on_another_file_system_is_polled_beside_a_local_spool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, inbox = tmp_path / "spool", tmp_path / "inbox"
    (tmp_path / "mountinfo").write_text(f"22 1 254:0 / / rw - ext4 x rw\n23 22 0:5 / {inbox} rw - nfs x rw\n")
    monkeypatch.setattr("mltm.runtime.mounts.MOUNTINFO", tmp_path / "mountinfo")
    for folder in (spool / "bell", spool / "drop", inbox / "new"):
        folder.mkdir(parents=True)
    settings = make_settings(spool, "auto").model_copy(update={"inbox": inbox})
    with closing(Watcher(settings, lambda: None, poll_s=600)) as watcher:
        watcher.refresh()

        polled = {folder for folder, each in watcher._observers.items() if isinstance(each, PollingObserver)}
    assert polled == {inbox / "new"}


def make_settings(root: Path, observer: str) -> AgentSettings:
    fields = {"spool": root, "cluster": "c", "credential_file": root / "credential", "observer": observer}
    return AgentSettings.model_validate(fields)


@contextmanager
def watching(root: Path, observer: str, *, poll_s: float) -> Iterator[threading.Event]:
    for name in ("in/new", "bell", "drop"):
        (root / name).mkdir(parents=True, exist_ok=True)
    woken = threading.Event()
    with closing(Watcher(make_settings(root, observer), woken.set, poll_s=poll_s)) as watcher:
        watcher.refresh()
        yield woken


# A poll that comes once in ten minutes: what wakes is inotify.
@pytest.mark.parametrize(("observer", "poll_s"), [("inotify", 600), ("polling", 0.05)])
@pytest.mark.parametrize("folder", ["in/new", "bell", "drop"])
def test_a_rename_into_a_folder_of_the_spool_wakes(tmp_path: Path, observer: str, poll_s: float, folder: str) -> None:
    (tmp_path / "made").mkdir()
    with watching(tmp_path, observer, poll_s=poll_s) as woken:
        (tmp_path / "made").rename(tmp_path / folder / "news")

        assert woken.wait(20)


@pytest.mark.parametrize(("name", "wakes"), [("news", True), (".news", False), ("mine.json.receipt.json", False)])
def test_our_own_files_do_not_wake(name: str, *, wakes: bool) -> None:
    woken = threading.Event()

    _Bell(woken.set).on_any_event(FileCreatedEvent(f"/spool/drop/{name}"))

    assert woken.is_set() is wakes


USED_UP = """
import sys, threading
from pathlib import Path
from tests.agent.daemon.test_watcher import watching
root = Path(sys.argv[1])
with watching(root, "inotify", poll_s=0.05) as woken:
    (root / "bell" / "news").touch()
    sys.exit(0 if woken.wait(20) else 1)
"""


@pytest.mark.parametrize("limit", ["max_inotify_watches", "max_inotify_instances"])
def test_where_inotify_is_used_up_the_spool_is_polled(tmp_path: Path, limit: str) -> None:
    """The limits of a user namespace of its own are the real ones of inotify(7), and nobody else's."""
    unshare = [str(shutil.which("unshare")), "--user", "--map-root-user", "sh", "-c"]
    argv = [*unshare, f'echo 0 > /proc/sys/user/{limit}; exec "$@"', "sh", sys.executable, "-c", USED_UP, str(tmp_path)]

    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=50)

    assert done.returncode == 0, done.stderr + done.stdout
    assert "inotify_used_up" in done.stdout
    assert (done.stdout + done.stderr).count("polling") == 1
