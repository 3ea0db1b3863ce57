"""Lists a task's output files, and reads parts of them. User code owns that folder and may have planted anything."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from agent.uplink.file_bytes import MAX_READ_BYTES, FileBytes, resolve_offset
from mltm.contract.agent_api import OutputFile
from mltm.contract.spool_layout import TaskFolder
from mltm.runtime.hostile_files import MAX_DEPTH, list_entries, open_file_below, open_folder_below

__all__ = ["OutputListing", "list_outputs", "read_output"]

_MAX_FILES = 10_000
_MAX_ENTRIES = 100_000


@dataclass(frozen=True)
class OutputListing:
    """Output files, sorted by path. message: what was left out, as a sentence."""

    files: tuple[OutputFile, ...]
    message: str = ""


def list_outputs(folder: TaskFolder, *, max_files: int = _MAX_FILES) -> OutputListing:
    """List the regular files below outputs, at most `max_files` and 32 levels deep; none if there is no such folder.

    Raises OSError.
    """
    found: list[OutputFile] = []
    unnamed = 0
    try:
        for path, status in _walk(folder):
            if len(found) >= max_files:
                return OutputListing(
                    _sorted(found), f"There are more than {max_files} files. Only {max_files} are listed."
                )
            if not path.isprintable():  # bytes that are not UTF-8, or control characters: JSON cannot carry them
                unnamed += 1
                continue
            at = datetime.fromtimestamp(status.st_mtime, tz=UTC)
            found.append(OutputFile(path=path, size=status.st_size, modified_at=at))
    except FileNotFoundError:
        return OutputListing(())
    message = f"{unnamed} files are left out, because their names are not plain text." if unnamed else ""
    return OutputListing(_sorted(found), message)


def read_output(folder: TaskFolder, path: str, offset: int, length: int) -> FileBytes:
    """Read at most 8 MiB of `outputs/<path>`. Raises OSError: FileNotFoundError if that is not a regular file."""
    with open_file_below(folder.path.parent, (folder.task_id, folder.outputs.name, *path.split("/"))) as descriptor:
        size = os.fstat(descriptor).st_size
        start = resolve_offset(offset, size)
        data = os.pread(descriptor, max(0, min(length, MAX_READ_BYTES)), start)
        return FileBytes(data, start, max(size, start + len(data)) if data else size)


def _sorted(found: list[OutputFile]) -> tuple[OutputFile, ...]:
    return tuple(sorted(found, key=lambda file: file.path))


def _walk(folder: TaskFolder) -> Iterator[tuple[str, os.stat_result]]:
    """Each folder is opened again from the top: few descriptors are open, and no path is resolved twice."""
    trusted, top = folder.path.parent, (folder.task_id, folder.outputs.name)
    waiting: list[tuple[str, ...]] = [()]
    entry_count = 0
    while waiting:
        parts = waiting.pop()
        try:
            with open_folder_below(trusted, (*top, *parts)) as opened:
                entries = list_entries(opened)
        except OSError:
            if not parts:
                raise
            continue  # removed, or replaced by a link, since it was listed
        for name, status in entries:
            entry_count += 1
            if entry_count > _MAX_ENTRIES:
                return
            if stat.S_ISREG(status.st_mode):
                yield "/".join((*parts, name)), status
            elif stat.S_ISDIR(status.st_mode) and len(top) + len(parts) + 2 <= MAX_DEPTH:
                waiting.append((*parts, name))
