"""Accepts users' drops: finds what is complete in drop/, takes it by one rename, and makes a task from it.

Complete at once: a sentinel `<config>.ready` that is newer than the drop, a MANIFEST.sha256 whose hashes all match, or
a folder named `*.ready`. Anything else waits until it was the same in three scans and over some seconds.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from agent.intake.drop_checksums import matches_checksums
from agent.intake.drop_contents import (
    READY_SUFFIX,
    DropContents,
    DropSource,
    build_source,
    is_candidate,
    is_unchanged,
    read_drop,
)
from agent.intake.drop_task import TakenDrops
from agent.intake.quiet_time import QUIET_SCANS, QuietWatch, count_scan, is_quiet
from agent.settings import AgentSettings
from agent.spool.file_stamp import Stamps
from mltm.contract.ids import TaskId
from mltm.contract.spool_layout import Spool
from mltm.runtime import files
from mltm.runtime.clock import Clock
from mltm.runtime.hostile_files import Folder, open_folder_below

__all__ = ["DropIntake"]

# A round takes drops for so long, or for as long as it read them. If there are thousands, the others wait for the next.
_TAKE_WITHIN_S = 2.0
_log = structlog.get_logger(__name__)


class DropIntake:
    """Brings drops in. One per process; scan() is called by the tick."""

    def __init__(self, spool: Spool, settings: AgentSettings, clock: Clock) -> None:
        self._spool, self._waits, self._clock = spool, settings.waits, clock
        self._last_read: dict[str, DropContents] = {}  # of single configs
        self._taken = TakenDrops(spool, settings, clock, self._last_read)
        self._drop_watches: dict[str, QuietWatch] = {}  # by the name in drop/
        self._taken_watches: dict[str, QuietWatch] = {}  # by the id in taking/
        self._wrong_sums: dict[str, Stamps] = {}  # folders as they were when their checksums were found wrong

    @property
    def is_watching(self) -> bool:
        """True while something in drop/ or taking/ has no task yet, so that the next scan must come soon."""
        return bool(self._drop_watches or self._taken_watches)

    def scan(self) -> list[str]:
        """Scan once; returns what is wrong, as sentences. Raises OSError if drop/ cannot be listed."""
        began_s = self._clock.boot_s()
        messages = [self._continue(TaskId(name)) for name in files.list_names(self._spool.taking)]
        folders = files.list_folders(self._spool.drop)
        found = [n for n in files.list_names(self._spool.drop) if is_candidate(n, is_folder=n in folders)]
        sources = [build_source(self._spool.drop, name, self._spool.drop, is_folder=name in folders) for name in found]
        complete = self._find_complete(sources, messages) if sources else {}
        for kept in (self._drop_watches, self._wrong_sums, self._last_read):
            _forget(kept, found)
        read_s = self._clock.boot_s() - began_s
        messages += self._take_some(complete, max(_TAKE_WITHIN_S, read_s))
        _forget(self._taken_watches, files.list_names(self._spool.taking))
        return [message for message in messages if message]

    def _find_complete(self, sources: Sequence[DropSource], messages: list[str]) -> dict[str, DropContents]:
        with open_folder_below(self._spool.root, [self._spool.drop.name]) as drop:
            found = [(source.name, self._read_if_complete(drop, source, messages)) for source in sources]
        return {name: contents for name, contents in found if contents is not None}

    def _read_if_complete(self, drop: Folder, source: DropSource, messages: list[str]) -> DropContents | None:
        name, before = source.name, self._drop_watches.get(source.name)
        try:
            contents = self._read_if_changed(drop, source, before)
        except OSError as error:
            messages.append(f"Cannot read the drop {name!a}: {error.strerror}.")
            return None
        is_still = before is not None and before.stamps == contents.stamps
        is_complete = self._is_quiet(self._drop_watches, name, contents)
        return contents if is_complete or self._is_declared(source, contents, is_still=is_still) else None

    def _read_if_changed(self, drop: Folder, source: DropSource, watch: QuietWatch | None) -> DropContents:
        """Read a drop, unless it has not changed since it was read after it had been quiet for some seconds."""
        known = self._last_read.pop(source.name, None)
        is_known = (
            known is not None and watch is not None and watch.scans >= QUIET_SCANS and watch.stamps == known.stamps
        )
        contents = known if known is not None and is_known and is_unchanged(drop, known) else read_drop(source)
        if not source.is_folder:
            self._last_read[source.name] = contents
        return contents

    def _take_some(self, complete: Mapping[str, DropContents], within_s: float) -> Iterator[str]:
        """Take what is complete, at least one. What is left after `within_s` is for the next round."""
        began_s = self._clock.boot_s()
        for name, contents in complete.items():
            yield self._take(name, contents)
            if self._clock.boot_s() - began_s >= within_s:
                return

    def _is_quiet(self, watches: dict[str, QuietWatch], name: str, contents: DropContents) -> bool:
        """Count a scan; True if it is quiet. An unfinished drop must be quiet for longer."""
        now_s, waits = self._clock.boot_s(), self._waits
        watches[name] = count_scan(watches.get(name), contents.stamps, now_s, waits.drop_look_s)
        return is_quiet(watches[name], now_s, waits.drop_give_up_s if _is_unfinished(contents) else waits.drop_quiet_s)

    def _is_declared(self, source: DropSource, contents: DropContents, *, is_still: bool) -> bool:
        """True if whoever dropped it says that it is complete, and nothing contradicts that."""
        if _is_unfinished(contents):
            return False
        if source.is_folder:
            return source.name.endswith(READY_SUFFIX) or (is_still and self._has_right_sums(source, contents))
        return self._has_sentinel(source.name, contents)

    def _has_right_sums(self, source: DropSource, contents: DropContents) -> bool:
        """True if its checksums are right. They are computed again only after a change: it may be large."""
        if self._wrong_sums.get(source.name) == contents.stamps:
            return False
        if matches_checksums(source.folder, (*contents.names, contents.config_name)):
            return True
        self._wrong_sums[source.name] = contents.stamps
        return False

    def _has_sentinel(self, name: str, contents: DropContents) -> bool:
        """True if a sentinel is newer than everything that it stands for. An older one was an earlier drop's."""
        try:
            came_ns = self._sentinel(name).lstat().st_ctime_ns
        except OSError:  # also if its name would be too long
            return False
        return all(came_ns >= stamp.ctime_ns for stamp in contents.stamps)

    def _sentinel(self, name: str) -> Path:
        return self._spool.drop / f"{name}{READY_SUFFIX}"

    def _take(self, name: str, contents: DropContents) -> str:
        """Take a drop: one rename has one winner, and from then on the id is the task's."""
        task_id, source = self._clock.new_id(), self._spool.drop / name
        target = self._spool.taking / task_id
        try:
            files.make_folder(target, 0o700)
            # First: a sentinel that outlived its drop would stay for ever. The script stays where it is until the task
            # has its copy, because another config may name it.
            if os.path.lexists(self._sentinel(name)):  # False if its name would be too long
                files.remove(self._sentinel(name))
            is_ours = files.move(source, target / name)
        except OSError as error:
            return f"Cannot accept the drop {name!a}: {error.strerror}."
        self._drop_watches.pop(name, None)
        self._last_read.pop(name, None)
        if not is_ours:
            with contextlib.suppress(OSError):
                target.rmdir()
            return ""
        _log.info("drop_taken", task_id=task_id, name=ascii(name))
        return self._continue(task_id, contents)

    def _continue(self, task_id: TaskId, before: DropContents | None = None) -> str:
        """Make the task of a taken drop, if its contents are as they were `before`, or if it is quiet again.

        If somebody else took it (a killed agent, or another one right now), it is left until it is quiet.
        """
        try:
            if self._taken.has_task(task_id):
                return self._taken.clean_up(task_id)
            source = self._taken.find(task_id)
            contents = read_drop(source) if source is not None else DropContents(())
            has_rested = self._is_quiet(self._taken_watches, task_id, contents)
            if not has_rested and not (before is not None and _is_same(before, contents)):
                return ""
            if source is not None:
                return self._taken.make_task(task_id, source, contents)
            (self._spool.taking / task_id).rmdir()  # of a process that was killed before its rename into it
        except OSError as error:
            _log.warning("drop_waits", task_id=task_id, error=str(error))
            return f"The drop {task_id} in {self._spool.taking} is blocked and will be retried: {error}"
        return ""


def _is_unfinished(contents: DropContents) -> bool:
    return contents.fault is not None and contents.fault.kind == "unfinished"


def _is_same(before: DropContents, after: DropContents) -> bool:
    """True if nothing changed but the ctime of a single config, which the rename itself changes."""
    kept = [
        tuple(stamp._replace(ctime_ns=0) if stamp.name == contents.config_name else stamp for stamp in contents.stamps)
        for contents in (before, after)
    ]
    return kept[0] == kept[1]


def _forget(kept: dict[str, Any], names: Iterable[str]) -> None:
    for gone in set(kept) - set(names):
        del kept[gone]
