"""Bells: files that say that a task has news. They only wake; a bell is taken away after its task was looked at."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog

from mltm.contract.ids import TaskId, parse_task_id
from mltm.contract.spool_layout import Spool
from mltm.runtime import files

__all__ = ["Bell", "Bells", "read_bells", "silence_bells"]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Bell:
    """A bell as it was heard: rung again, its time is another."""

    path: Path
    rung_ns: int
    task_id: TaskId


@dataclass(frozen=True)
class Bells:
    """What was heard, and what lies there that is not a bell, in words."""

    heard: tuple[Bell, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def rung(self) -> frozenset[TaskId]:
        """The tasks that have news."""
        return frozenset(bell.task_id for bell in self.heard)


def read_bells(spool: Spool) -> Bells:
    """Hear what rings; what is not a bell is removed. Raises OSError if the folder cannot be listed."""
    heard: list[Bell] = []
    problems: list[str] = []
    for name in files.list_names(spool.bell):
        path = spool.bell / name
        try:
            heard.append(Bell(path, path.stat().st_mtime_ns, parse_task_id(name.partition(".")[0])))
        except FileNotFoundError:
            continue
        except ValueError:
            problems += _remove_stranger(path)
    return Bells(tuple(heard), tuple(problems))


def _remove_stranger(path: Path) -> list[str]:
    """Take away what is not a bell; what cannot be taken (a folder) stops nobody."""
    try:
        files.remove(path)
    except OSError as error:
        return [f"{path} is not a bell, and cannot be removed: {error.strerror}. Remove it by hand."]
    _log.warning("bell_ignored", name=path.name[:80])
    return []


def silence_bells(answered: Iterable[Bell]) -> None:
    """Take bells away after their tasks were looked at: a kill before that leaves them for the next process.

    One that was rung again meanwhile stays.
    """
    for bell in answered:
        with contextlib.suppress(OSError):
            if bell.path.stat().st_mtime_ns == bell.rung_ns:
                files.remove(bell.path)
