"""Moves the script of a single config out of drop/ with its last task, so that it never runs with a later config.

A task has its own copy before its script is moved. "Has its copy" never becomes false again, and each task asks about
the others after it has its own. So the last one, whichever agent made it, finds that nobody still needs the script.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from agent.intake.drop_contents import DropContents, find_source, is_candidate, is_unchanged, read_drop
from agent.spool.file_stamp import FileStamp, read_stamp
from mltm.contract.ids import TaskId
from mltm.contract.spool_layout import Spool
from mltm.runtime import files
from mltm.runtime.hostile_files import open_folder_below

__all__ = ["holds_script", "take_script_out"]


def take_script_out(
    spool: Spool,
    task_id: TaskId,
    script: FileStamp,
    has_task: Callable[[TaskId], bool],
    last_read: Mapping[str, DropContents],
) -> None:
    """Move the script that a task was made of from drop/ to its config in taking/<id>. Raises OSError.

    It stays if a config without a task names it too, and so does another file that has the name by now.
    last_read: the configs in drop/, as they were read last. One that named another script, and is unchanged, is not
    read again.
    """
    name = script.name
    held, place = spool.taking / task_id / name, spool.drop / name
    is_there = _read(spool.drop, name) == script and not (place.is_dir() and not place.is_symlink())
    if is_there and not os.path.lexists(held) and name not in _list_needed(spool, name, has_task, last_read):
        files.move(place, held)
    if os.path.lexists(held) and not holds_script(held.parent, script):
        _give_back(held, place)


def holds_script(folder: Path, script: FileStamp) -> bool:
    """True if that very script is in `folder`. Its ctime does not count: a rename changes it. Raises OSError."""
    return _read(folder, script.name)._replace(ctime_ns=script.ctime_ns) == script


def _list_needed(
    spool: Spool, script: str, has_task: Callable[[TaskId], bool], last_read: Mapping[str, DropContents]
) -> Iterator[str]:
    """The scripts of configs that may name `script` and have no task yet.

    drop/ before taking/: one that moves meanwhile is found in one of them.
    """
    names = [name for name in files.list_names(spool.drop) if is_candidate(name, is_folder=False)]
    with open_folder_below(spool.root, [spool.drop.name]) as drop:
        for name in names:
            contents = last_read.get(name)
            if contents is None or contents.script == script or not is_unchanged(drop, contents):
                yield from _read_script(spool, spool.drop, name)
    for task_id in map(TaskId, files.list_names(spool.taking)):
        if not has_task(task_id):
            for name in files.list_names(spool.taking / task_id):
                yield from _read_script(spool, spool.taking / task_id, name)


def _read_script(spool: Spool, place: Path, name: str) -> Iterator[str]:
    source = find_source(place, name, spool.drop)
    if source.is_folder:
        return
    with contextlib.suppress(FileNotFoundError):
        contents = read_drop(source)
        if contents.config is not None:
            yield contents.script


def _read(folder: Path, name: str) -> FileStamp:
    with open_folder_below(folder.parent, [folder.name]) as opened:
        return read_stamp(opened, name)


def _give_back(held: Path, place: Path) -> None:
    """Put back a newer script that had the name at the rename. It never overwrites one that is there."""
    with contextlib.suppress(FileExistsError):
        os.link(held, place, follow_symlinks=False)
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(held.lstat(), place.lstat()):
            files.sync_folder(place.parent)
            files.remove(held)
