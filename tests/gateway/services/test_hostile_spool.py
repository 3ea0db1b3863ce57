"""Whoever owns a spool may change everything below it at any instant: the gateway never writes outside of it."""

import contextlib
import itertools
import os
import stat
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.services.publisher import publish_bundle, remove_taken
from gateway.services.spool_address import write_address
from gateway.store.outbox import OutboxEntry
from gateway.values import InboxKey
from mltm.contract.ids import TaskId
from mltm.contract.manifest import BundleFile, Manifest
from mltm.contract.proofs import parse_address
from mltm.contract.spool_layout import Spool
from tests.gateway.build import CLUSTER, SCRIPT, config

TASK = TaskId("a" * 32)
OTHER = "b" * 32
URL = "https://gateway.example.org"
SPOOL_ID, KEY = "5" * 32, b"k" * 32
SWAPPED = ("bundle", "files", "tmp", "in")
_ASIDE = itertools.count()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "spool")
    made.inbox.building.mkdir(parents=True)
    made.inbox.new.mkdir()
    return made


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """What a link may lead to: a folder of the gateway's account that looks like a bundle under way."""
    folder = tmp_path / "home"
    for inner in ("files", "tmp", "new"):
        (folder / inner).mkdir(parents=True)
    (folder / "keep").write_text("kept")
    for path in (*folder.iterdir(), folder):
        os.utime(path, (0, 0))  # what is written and taken away again is seen, too
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "uploaded"
    folder.mkdir()
    (folder / "entrypoint.py").write_bytes(SCRIPT)
    return folder


def build_entry(spool: Spool, step: str = "waiting") -> OutboxEntry:
    manifest = Manifest(
        task_id=TASK, owner="alice", cluster=CLUSTER, submitted_at=datetime(2026, 11, 29, tzinfo=UTC),
        script_name="script.py", config=config(),
        files=[BundleFile(name="entrypoint.py", size=len(SCRIPT), sha256="0" * 64)],
    )  # fmt: skip
    return OutboxEntry(TASK, step, spool.inbox.root, manifest, SPOOL_ID, KEY)


def look(folder: Path) -> list[tuple[str, int, float, bytes]]:
    """Everything in a folder: names, modes, times, contents."""
    found = [(path, path.lstat()) for path in sorted([folder, *folder.rglob("*")])]
    return [
        (str(path.relative_to(folder)), seen.st_mode, seen.st_mtime, path.read_bytes() if path.is_file() else b"")
        for path, seen in found
    ]


def put_link(place: Path, target: Path) -> None:
    """Swap whatever has this name for a link."""
    with contextlib.suppress(FileNotFoundError):
        place.rename(place.parent / f"aside-{next(_ASIDE)}")
    place.symlink_to(target)


def swap(spool: Spool, victim: Path, which: str) -> None:
    """What a spool's owner can do at any instant."""
    match which:
        case "in":
            put_link(spool.inbox.building.parent, victim)
        case "tmp":
            put_link(spool.inbox.building, victim)
        case _:
            there = [path for path in spool.inbox.building.iterdir() if path.name.startswith(TASK)]
            for place in {*there, *(spool.inbox.building / name for name in (TASK, f"{TASK}.gone"))}:
                if which == "bundle":
                    put_link(place, victim)
                elif place.is_dir() and not place.is_symlink():
                    put_link(place / "files", victim / "files")


@pytest.mark.parametrize("name", ["address", ".address.new"])
@pytest.mark.parametrize("kind", ["link", "dangling", "fifo"])
def test_nothing_in_an_inbox_is_followed_or_waited_for(spool: Spool, victim: Path, name: str, kind: str) -> None:
    place, before = spool.inbox.root / name, look(victim)
    reader = None
    match kind:
        case "link":
            place.symlink_to(victim / "keep")
        case "dangling":
            place.symlink_to(victim / "new.py")
        case _:
            os.mkfifo(place)
            reader = os.open(place, os.O_RDONLY | os.O_NONBLOCK)  # else the test of a bad gateway would hang, too

    write_address(InboxKey(spool.inbox.root, SPOOL_ID, KEY), URL)

    if reader is not None:
        os.close(reader)
    assert stat.S_ISREG(spool.inbox.address.lstat().st_mode)
    assert parse_address(spool.inbox.address.read_bytes(), SPOOL_ID, KEY) == URL
    assert look(victim) == before
    assert {path.name for path in spool.root.iterdir()} == {"in"}  # nothing is written beside the inbox


def test_a_folder_in_the_place_of_the_address_is_named_and_nothing_is_left(spool: Spool) -> None:
    spool.inbox.address.mkdir()

    with pytest.raises(IsADirectoryError) as raised:
        write_address(InboxKey(spool.inbox.root, SPOOL_ID, KEY), URL)

    assert str(spool.inbox.address) == raised.value.filename
    assert sorted(path.name for path in spool.inbox.root.iterdir()) == ["address", "new", "tmp"]


@pytest.mark.parametrize("which", SWAPPED)
def test_links_that_lie_there_already_lead_nowhere(spool: Spool, victim: Path, source: Path, which: str) -> None:
    before = look(victim)
    swap(spool, victim, which)
    with contextlib.suppress(OSError):
        publish_bundle(build_entry(spool), source, spool.inbox)
    assert look(victim) == before
    with contextlib.suppress(OSError):
        remove_taken(TASK, spool.inbox)
    assert look(victim) == before


def test_a_link_in_the_place_of_in_new_is_named(spool: Spool, victim: Path, source: Path) -> None:
    put_link(spool.inbox.new, victim)

    with pytest.raises(OSError, match="link") as raised:
        publish_bundle(build_entry(spool), source, spool.inbox)

    assert raised.value.filename == str(spool.inbox.new)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "file"])
def test_what_has_the_name_of_a_bundle_under_way_stops_no_bundle(
    spool: Spool, victim: Path, source: Path, kind: str
) -> None:
    place, before = spool.inbox.building / TASK, look(victim)
    match kind:
        case "link":
            place.symlink_to(victim)
        case "fifo":
            os.mkfifo(place)
        case "folder":
            (place / "files").mkdir(parents=True)
        case _:
            place.write_text("x")
    (spool.inbox.building / OTHER).mkdir()

    publish_bundle(build_entry(spool), source, spool.inbox)

    assert (spool.inbox.bundle(TASK) / "files" / "entrypoint.py").read_bytes() == SCRIPT
    assert [path.name for path in spool.inbox.building.iterdir()] == [OTHER]  # that is another one's
    assert look(victim) == before


def test_a_bundle_is_readable_for_the_agents_group_whatever_the_umask(spool: Spool, source: Path) -> None:
    before = os.umask(0o077)
    try:
        publish_bundle(build_entry(spool), source, spool.inbox)
    finally:
        os.umask(before)
    bundle = spool.inbox.bundle(TASK)

    assert {stat.S_IMODE(path.stat().st_mode) & 0o777 for path in (bundle, bundle / "files")} == {0o750}
    files = (bundle / "manifest.json", bundle / "files" / "entrypoint.py")
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o640}


class Instants:
    """Counts the calls that touch a path, and does something before one of them."""

    names = ("mkdir", "open", "chmod", "fchmod", "rename", "replace", "rmdir", "unlink", "lstat", "stat", "fsync")

    def __init__(self, at: int, act: Callable[[], None]) -> None:
        self.at, self.act, self.passed, self._busy = at, act, 0, False

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in self.names:
                patch.setattr(os, name, self._wrap(getattr(os, name)))
            yield

    def _wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            if not self._busy:
                self.passed += 1
                if self.passed == self.at:
                    self._busy = True
                    self.act()
                    self._busy = False
            return call(*arguments, **options)

        return step


@pytest.mark.parametrize("work", ["publish", "remove"])
@pytest.mark.parametrize("which", SWAPPED)
def test_a_swap_at_any_instant_writes_nothing_elsewhere(
    tmp_path: Path, victim: Path, source: Path, which: str, work: str
) -> None:
    before = look(victim)
    for at in range(1, 500):
        spool = Spool(tmp_path / f"spool{at}")
        spool.inbox.building.mkdir(parents=True)
        spool.inbox.new.mkdir()
        if work == "remove":
            (spool.inbox.bundle(TASK) / "files").mkdir(parents=True)
        instants = Instants(at, lambda now=spool: swap(now, victim, which))  # type: ignore[misc]  # mypy#15459
        with instants.watch(), contextlib.suppress(OSError):
            if work == "publish":
                publish_bundle(build_entry(spool), source, spool.inbox)
            else:
                remove_taken(TASK, spool.inbox)

        assert look(victim) == before, f"{which} before call {at}"
        if instants.passed < at:
            break
    assert 5 < at < 499


def test_a_swapper_beside_the_publisher_gets_nothing_written(spool: Spool, victim: Path, source: Path) -> None:
    before, ended = look(victim), threading.Event()

    def go_on_swapping() -> None:
        for which in itertools.cycle(("bundle", "files")):
            if ended.is_set():
                return
            with contextlib.suppress(OSError):
                swap(spool, victim, which)

    swapper = threading.Thread(target=go_on_swapping)
    swapper.start()
    try:
        for _ in range(60):
            with contextlib.suppress(OSError):
                publish_bundle(build_entry(spool), source, spool.inbox)
            with contextlib.suppress(OSError):
                remove_taken(TASK, spool.inbox)
    finally:
        ended.set()
        swapper.join()

    assert look(victim) == before
