"""The only owner of watchdog: a change in the inbox, `drop` or `bell` wakes the tick. The truth is the rescan.

It looks at no file and removes none; bells are removed by the tick, which answers them.
"""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import structlog
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingObserver

from agent.settings import AgentSettings
from agent.slurm.shell import run_command
from mltm.contract.spool_layout import RECEIPT_SUFFIX, Spool, is_ignored
from mltm.runtime.mounts import is_seen_whole, read_file_system

__all__ = ["Watcher", "hears_inotify", "uses_inotify"]

_POLL_S = 1.0
# Polling tells of a rename into the folder as `created`, inotify as `created` or `moved` (measured with watchdog 7.1).
_NEWS = frozenset({"created", "moved", "closed"})
# inotify(7): no memory for a watch left to this user, or no further instance.
_USED_UP = frozenset({errno.ENOSPC, errno.EMFILE, errno.ENOMEM})
_log = structlog.get_logger(__name__)


class _Bell(FileSystemEventHandler):
    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        name = Path(str(event.dest_path or event.src_path)).name
        # Our own receipts and temporary files must not wake us.
        if event.event_type in _NEWS and not is_ignored(name) and not name.endswith(RECEIPT_SUFFIX):
            self._wake()


class Watcher:
    """Watches while it is open; `wake` is called in a thread of watchdog's."""

    def __init__(self, settings: AgentSettings, wake: Callable[[], None], *, poll_s: float = _POLL_S) -> None:
        spool = Spool(settings.spool)
        drops = (spool.drop,) if settings.drops else ()
        self._folders = (settings.inbox_folder.new, *drops, spool.bell)
        self._handler = _Bell(wake)
        # The inbox may lie on another file system than the spool.
        self._with_inotify = {folder for folder in self._folders if uses_inotify(settings, folder)}
        self._poll_s = poll_s
        self._observers: dict[Path, BaseObserver] = {}

    def refresh(self) -> None:
        """Watch what is not watched: a folder that was not there yet, or whose watch ended. Call it each tick."""
        for folder in self._folders:
            observer = self._observers.get(folder)
            if observer is not None and observer.is_alive() and all(e.is_alive() for e in observer.emitters):
                continue
            if observer is not None:
                self._end(self._observers.pop(folder))
            if folder.is_dir():
                self._watch(folder)

    def close(self) -> None:
        """Stop all threads."""
        for observer in self._observers.values():
            self._end(observer)
        self._observers.clear()

    def _watch(self, folder: Path) -> None:
        if folder in self._with_inotify:
            try:
                self._start(Observer(), folder)
            except OSError as error:
                if error.errno not in _USED_UP:
                    _log.warning("watch_failed", folder=folder.name, error=str(error))
                    return
                self._with_inotify.clear()
                _log.warning("inotify_used_up", folder=folder.name, error=str(error), instead="polling")
            else:
                return
        try:
            self._start(PollingObserver(timeout=self._poll_s), folder)
        except OSError as error:  # the folder went away: the rescan goes on
            _log.warning("watch_failed", folder=folder.name, error=str(error))

    def _start(self, observer: BaseObserver, folder: Path) -> None:
        observer.schedule(self._handler, str(folder), recursive=False)
        observer.start()
        self._observers[folder] = observer

    def _end(self, observer: BaseObserver) -> None:
        observer.stop()
        observer.join(timeout=5)


def uses_inotify(settings: AgentSettings, folder: Path) -> bool:
    """What the config says; else inotify where the folder's file system is this host's own, and polling elsewhere."""
    if settings.observer != "auto":
        return settings.observer == "inotify"
    return is_seen_whole(read_file_system(folder))


def hears_inotify(folder: Path, *, timeout_s: float = 2.0) -> bool:
    """True where inotify tells of a file that another process makes in the folder. Starts threads."""
    heard = threading.Event()
    observer = Observer()
    try:
        observer.schedule(_Bell(heard.set), str(folder), recursive=False)
        observer.start()
    except OSError:
        return False
    try:
        run_command(["touch", str(folder / "sound")], timeout_s=10, env={"PATH": os.defpath})
        return heard.wait(timeout_s)
    finally:
        observer.stop()
        observer.join(timeout=5)
