"""The script of a single config: it leaves drop/ with the last task of it, so that it never runs with a later config.

A task has its own copy before its script is touched. "Has its copy" never turns false again, and each task asks about
the others after it has its own: so the last one, whichever agent made it, finds nobody who still needs the script.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from agent.intake.drop_contents import DropView, find_source, is_candidate, is_unchanged, look_into, read_entry
from agent.intake.quiet_time import Entry
from mltm.contract.ids import TaskId
from mltm.contract.spool_layout import Spool
from mltm.runtime import files
from mltm.runtime.hostile_files import open_folder_below

__all__ = ["holds_script", "take_script_out"]


def take_script_out(
    spool: Spool,
    task_id: TaskId,
    seen: Entry,
    is_settled: Callable[[TaskId], bool],
    views: Mapping[str, DropView],
) -> None:
    """Move the script that a task was made of from drop/ to its config in taking/<id>. Raises OSError.

    It stays where a config without a task names it too, and so does another file that has the name by now.
    views: of configs in drop/, as they were last seen: one that named another script, and is unchanged, is not read.
    """
    name = seen[0]
    held, place = spool.taking / task_id / name, spool.drop / name
    is_there = _read(spool.drop, name) == seen and not (place.is_dir() and not place.is_symlink())
    if is_there and not os.path.lexists(held) and name not in _list_needed(spool, name, is_settled, views):
        files.move(place, held)
    if os.path.lexists(held) and not holds_script(held.parent, seen):
        _give_back(held, place)


def holds_script(folder: Path, seen: Entry) -> bool:
    """True where that very script is in `folder`; its ctime is the rename's by now. Raises OSError."""
    return _read(folder, seen[0])[:3] == seen[:3]


def _list_needed(
    spool: Spool, script: str, is_settled: Callable[[TaskId], bool], views: Mapping[str, DropView]
) -> Iterator[str]:
    """The scripts of configs that may name `script` and have no task yet.

    drop/ before taking/: one that moves is seen in one of them.
    """
    names = [name for name in files.list_names(spool.drop) if is_candidate(name, is_folder=False)]
    with open_folder_below(spool.root, [spool.drop.name]) as drop:
        for name in names:
            view = views.get(name)
            if view is None or view.script == script or not is_unchanged(drop, view):
                yield from _read_script(spool, spool.drop, name)
    for task_id in map(TaskId, files.list_names(spool.taking)):
        if not is_settled(task_id):
            for name in files.list_names(spool.taking / task_id):
                yield from _read_script(spool, spool.taking / task_id, name)


def _read_script(spool: Spool, place: Path, name: str) -> Iterator[str]:
    source = find_source(place, name, spool.drop)
    if source.is_folder:
        return
    with contextlib.suppress(FileNotFoundError):
        view = look_into(source)
        if view.config is not None:
            yield view.script


def _read(folder: Path, name: str) -> Entry:
    with open_folder_below(folder.parent, [folder.name]) as opened:
        return read_entry(opened, name)


def _give_back(held: Path, place: Path) -> None:
    """Put back a newer script that took the name between the look and the rename; never over one that is there."""
    with contextlib.suppress(FileExistsError):
        os.link(held, place, follow_symlinks=False)
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(held.lstat(), place.lstat()):
            files.sync_folder(place.parent)
            files.remove(held)
