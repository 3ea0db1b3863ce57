"""Users' drops: finds what is complete in drop/, takes it by one rename, and makes a task of it.

Complete at once: a sentinel `<config>.ready`, a MANIFEST.sha256 whose hashes all match, or a folder named `*.ready`.
Anything else waits until it was the same over three looks and some seconds.
"""

import contextlib

import structlog

from agent import files
from agent.clock import Clock
from agent.drop_look import READY_SUFFIX, DropView, is_candidate, look_into, matches_checksums
from agent.drop_watch import Print, Watched, is_at_rest, is_unfinished_name, look_at
from agent.settings import AgentSettings
from agent.take_drop import Taker
from mltm.contract.ids import TaskId
from mltm.contract.names import Spool

__all__ = ["Drops"]

_log = structlog.get_logger(__name__)


class Drops:
    """Brings drops in. One per process; scan() is called by the tick."""

    def __init__(self, spool: Spool, settings: AgentSettings, clock: Clock) -> None:
        self._spool, self._waits, self._clock = spool, settings.waits, clock
        self._taker = Taker(spool, settings, clock)
        self._watched: dict[str, Watched] = {}
        self._rewritten: dict[TaskId, tuple[str, Watched]] = {}
        self._is_taking = False

    @property
    def is_watching(self) -> bool:
        """True while something in drop/ or taking/ is not settled, so that the next look must not wait long."""
        return bool(self._watched) or self._is_taking

    def scan(self) -> list[str]:
        """Look once; returns what is wrong, as sentences. Raises OSError where drop/ cannot be listed."""
        said = [self._finish(TaskId(name)) for name in files.list_names(self._spool.taking)]
        found = [n for n in files.list_names(self._spool.drop) if is_candidate(n, is_folder=self._is_folder(n))]
        for gone in set(self._watched) - set(found):
            del self._watched[gone]
        said += [self._look_at(name) for name in found]
        self._is_taking = bool(files.list_names(self._spool.taking))
        return [words for words in said if words]

    def _is_folder(self, name: str) -> bool:
        path = self._spool.drop / name
        return path.is_dir() and not path.is_symlink()

    def _finish(self, task_id: TaskId) -> str:
        try:
            if not self._is_quiet_again(task_id):
                return ""
            taken = self._taker.finish(task_id)
            if taken.is_waiting:
                seen = self._print(task_id, taken.script)
                first = look_at(None, seen, self._clock.boot_s(), self._waits.drop_look_s)
                self._rewritten[task_id] = (taken.script, first)
        except OSError as error:
            _log.warning("drop_waits", task_id=task_id, error=str(error))
            return f"The drop {task_id} in {self._spool.taking} has to wait: {error}"
        return taken.words

    def _is_quiet_again(self, task_id: TaskId) -> bool:
        """False while a drop that changed under our copy has not come to rest again."""
        if task_id not in self._rewritten:
            return True
        now_s, (script, before) = self._clock.boot_s(), self._rewritten[task_id]
        watched = look_at(before, self._print(task_id, script), now_s, self._waits.drop_look_s)
        self._rewritten[task_id] = (script, watched)
        if not is_at_rest(watched, now_s, self._waits.drop_quiet_s):
            return False
        del self._rewritten[task_id]
        return True

    def _print(self, task_id: TaskId, script: str) -> Print:
        """What lies in taking/ and, where it is fetched from there, the script in drop/."""
        paths = sorted((self._spool.taking / task_id).rglob("*"))
        if script and (self._spool.drop / script).exists():
            paths.append(self._spool.drop / script)
        stats = [(path.name, path.lstat()) for path in paths if not is_unfinished_name(path.name)]
        return tuple((name, seen.st_size, seen.st_mtime_ns) for name, seen in stats)

    def _look_at(self, name: str) -> str:
        try:
            view, now_s = self._view(name), self._clock.boot_s()
        except OSError as error:
            return f"The drop {name!a} cannot be read: {error.strerror}."
        watched = look_at(self._watched.get(name), view.seen, now_s, self._waits.drop_look_s)
        self._watched[name] = watched
        if view.fault is not None and view.fault.kind == "unfinished":
            return self._take(name) if is_at_rest(watched, now_s, self._waits.drop_give_up_s) else ""
        if self._is_declared(name, view) or is_at_rest(watched, now_s, self._waits.drop_quiet_s):
            return self._take(name)
        return ""

    def _view(self, name: str) -> DropView:
        if self._is_folder(name):
            return look_into(self._spool.drop / name, None, None)
        return look_into(self._spool.drop, [name], name)

    def _is_declared(self, name: str, view: DropView) -> bool:
        """True where whoever dropped it says that it is whole."""
        if self._is_folder(name):
            return name.endswith(READY_SUFFIX) or matches_checksums(
                self._spool.drop / name, (*view.names, view.config_name)
            )
        return (self._spool.drop / f"{name}{READY_SUFFIX}").exists()

    def _take(self, name: str) -> str:
        """Take it: one rename has one winner, and from then on the id is the task's."""
        task_id, source = self._clock.new_task_id(), self._spool.drop / name
        target = self._spool.taking / task_id
        try:
            files.make_folder(target, 0o700)
            # First: a sentinel that outlived its drop would call the next one of this name whole. The script stays
            # where it is, because another config may name it.
            files.remove(self._spool.drop / f"{name}{READY_SUFFIX}")
            is_ours = files.move(source, target / name)
        except OSError as error:
            return f"The drop {name!a} cannot be taken: {error.strerror}."
        self._watched.pop(name, None)
        if not is_ours:
            with contextlib.suppress(OSError):
                target.rmdir()
            return ""
        _log.info("drop_taken", task_id=task_id, name=ascii(name))
        return self._finish(task_id)
