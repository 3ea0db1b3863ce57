"""Users' drops: finds what is complete in drop/, takes it by one rename, and makes a task of it.

Complete at once: a sentinel `<config>.ready` that is the newest of it, a MANIFEST.sha256 whose hashes all match, or a
folder named `*.ready`.
Anything else waits until it was the same over three looks and some seconds.
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
    DropView,
    Source,
    is_candidate,
    is_unchanged,
    look_into,
    make_source,
)
from agent.intake.drop_task import Taker
from agent.intake.quiet_time import LOOKS, Print, Watched, is_at_rest, look_at
from agent.settings import AgentSettings
from mltm.contract.ids import TaskId
from mltm.contract.spool_layout import Spool
from mltm.runtime import files
from mltm.runtime.clock import Clock
from mltm.runtime.hostile_files import Folder, open_folder_below

__all__ = ["Drops"]

# So long a round begins to take drops, or as long as it looked at them: of thousands, the others wait for the next one.
_TAKE_WITHIN_S = 2.0
_log = structlog.get_logger(__name__)


class Drops:
    """Brings drops in. One per process; scan() is called by the tick."""

    def __init__(self, spool: Spool, settings: AgentSettings, clock: Clock) -> None:
        self._spool, self._waits, self._clock = spool, settings.waits, clock
        self._views: dict[str, DropView] = {}  # of single configs, as the last look saw them
        self._taker = Taker(spool, settings, clock, self._views)
        self._watched: dict[str, Watched] = {}
        self._taken: dict[str, Watched] = {}
        self._summed: dict[str, Print] = {}  # folders as they were when their checksums were found wrong

    @property
    def is_watching(self) -> bool:
        """True while something in drop/ or taking/ is not settled, so that the next look must not wait long."""
        return bool(self._watched or self._taken)

    def scan(self) -> list[str]:
        """Look once; returns what is wrong, as sentences. Raises OSError where drop/ cannot be listed."""
        began_s = self._clock.boot_s()
        said = [self._go_on(TaskId(name)) for name in files.list_names(self._spool.taking)]
        folders = files.list_folders(self._spool.drop)
        found = [n for n in files.list_names(self._spool.drop) if is_candidate(n, is_folder=n in folders)]
        sources = [make_source(self._spool.drop, name, self._spool.drop, is_folder=name in folders) for name in found]
        whole = self._look_at_all(sources, said) if sources else {}
        for kept in (self._watched, self._summed, self._views):
            _forget(kept, found)
        looked_s = self._clock.boot_s() - began_s
        said += self._take_some(whole, max(_TAKE_WITHIN_S, looked_s))
        _forget(self._taken, files.list_names(self._spool.taking))
        return [message for message in said if message]

    def _look_at_all(self, sources: Sequence[Source], said: list[str]) -> dict[str, DropView]:
        with open_folder_below(self._spool.root, [self._spool.drop.name]) as drop:
            looks = [(source.name, self._look_at(drop, source, said)) for source in sources]
        return {name: view for name, view in looks if view is not None}

    def _look_at(self, drop: Folder, source: Source, said: list[str]) -> DropView | None:
        """What it is, where it is whole."""
        name, before = source.name, self._watched.get(source.name)
        try:
            view = self._view(drop, source, before)
        except OSError as error:
            said.append(f"The drop {name!a} cannot be read: {error.strerror}.")
            return None
        is_still = before is not None and before.seen == view.seen
        is_whole = self._watch(self._watched, name, view) or self._is_declared(source, view, is_still=is_still)
        return view if is_whole else None

    def _view(self, drop: Folder, source: Source, watched: Watched | None) -> DropView:
        """Look into it, unless it is as it was at two looks some seconds apart, and was looked into since."""
        known = self._views.pop(source.name, None)
        is_known = known is not None and watched is not None and watched.looks >= LOOKS and watched.seen == known.seen
        view = known if known is not None and is_known and is_unchanged(drop, known) else look_into(source)
        if not source.is_folder:
            self._views[source.name] = view
        return view

    def _take_some(self, whole: Mapping[str, DropView], within_s: float) -> Iterator[str]:
        """Take what is whole, at least one; what is left after a while is for the next round."""
        began_s = self._clock.boot_s()
        for name, view in whole.items():
            yield self._take(name, view)
            if self._clock.boot_s() - began_s >= within_s:
                return

    def _watch(self, kept: dict[str, Watched], name: str, view: DropView) -> bool:
        """Count a look; True where it is at rest: longer, where more may still arrive."""
        now_s, waits = self._clock.boot_s(), self._waits
        kept[name] = look_at(kept.get(name), view.seen, now_s, waits.drop_look_s)
        return is_at_rest(kept[name], now_s, waits.drop_give_up_s if _is_unfinished(view) else waits.drop_quiet_s)

    def _is_declared(self, source: Source, view: DropView, *, is_still: bool) -> bool:
        """True where whoever dropped it says that it is whole, and nothing speaks against it."""
        if _is_unfinished(view):
            return False
        if source.is_folder:
            return source.name.endswith(READY_SUFFIX) or (is_still and self._is_summed(source, view))
        return self._has_sentinel(source.name, view)

    def _is_summed(self, source: Source, view: DropView) -> bool:
        """True where its checksums are right. Hashed once for each state: what is still written is not read again."""
        if self._summed.get(source.name) == view.seen:
            return False
        if matches_checksums(source.folder, (*view.names, view.config_name)):
            return True
        self._summed[source.name] = view.seen
        return False

    def _has_sentinel(self, name: str, view: DropView) -> bool:
        """True where a sentinel came after all that it speaks of: an older one was an earlier drop's."""
        try:
            came_ns = self._sentinel(name).lstat().st_ctime_ns
        except OSError:  # also where its name would be too long
            return False
        return all(came_ns >= ctime_ns for _, _, _, ctime_ns in view.seen)

    def _sentinel(self, name: str) -> Path:
        return self._spool.drop / f"{name}{READY_SUFFIX}"

    def _take(self, name: str, view: DropView) -> str:
        """Take it: one rename has one winner, and from then on the id is the task's."""
        task_id, source = self._clock.new_id(), self._spool.drop / name
        target = self._spool.taking / task_id
        try:
            files.make_folder(target, 0o700)
            # First: a sentinel that outlived its drop would lie there for ever. The script stays where it is until the
            # task has its copy, because another config may name it.
            if os.path.lexists(self._sentinel(name)):  # False where its name would be too long
                files.remove(self._sentinel(name))
            is_ours = files.move(source, target / name)
        except OSError as error:
            return f"The drop {name!a} cannot be taken: {error.strerror}."
        self._watched.pop(name, None)
        self._views.pop(name, None)
        if not is_ours:
            with contextlib.suppress(OSError):
                target.rmdir()
            return ""
        _log.info("drop_taken", task_id=task_id, name=ascii(name))
        return self._go_on(task_id, view)

    def _go_on(self, task_id: TaskId, at_rest: DropView | None = None) -> str:
        """Bring a taken drop to its end, where it is still what was at rest, or has come to rest again.

        One that somebody else took (before a crash, or another agent right now) is left alone until then.
        """
        try:
            if self._taker.is_settled(task_id):
                return self._taker.clean(task_id)
            source = self._taker.find(task_id)
            view = look_into(source) if source is not None else DropView(())
            is_quiet = self._watch(self._taken, task_id, view)
            if not is_quiet and not (at_rest is not None and _is_same(at_rest, view)):
                return ""
            if source is not None:
                return self._taker.finish(task_id, source, view)
            (self._spool.taking / task_id).rmdir()  # of a process that was killed before its rename into it
        except OSError as error:
            _log.warning("drop_waits", task_id=task_id, error=str(error))
            return f"The drop {task_id} in {self._spool.taking} has to wait: {error}"
        return ""


def _is_unfinished(view: DropView) -> bool:
    return view.fault is not None and view.fault.kind == "unfinished"


def _is_same(before: DropView, after: DropView) -> bool:
    """True where nothing changed but what the rename itself changes: the ctime of a single config."""
    kept = [tuple(e if e[0] != v.config_name else e[:3] for e in v.seen) for v in (before, after)]
    return kept[0] == kept[1]


def _forget(kept: dict[str, Any], names: Iterable[str]) -> None:
    for gone in set(kept) - set(names):
        del kept[gone]
