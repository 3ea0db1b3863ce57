"""Lists a task's output files, and reads parts of them. User code owns that folder and may have planted anything."""

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from agent.uplink.file_bytes import MAX_READ_BYTES, FileBytes, resolve_offset
from mltm.contract.agent_api import OutputFile
from mltm.contract.spool_layout import TaskFolder
from mltm.runtime.hostile_files import MAX_DEPTH, open_file_below, open_folder_below, read_entries

__all__ = ["OutputListing", "list_outputs", "read_output"]

_MAX_FILES = 10_000
_MAX_ENTRIES = 100_000
_MAX_LIST_BYTES = 2 * 1024 * 1024  #: of paths, in JSON; the gateway accepts an answer of 8 MiB
_FILE_JSON_BYTES = 100  #: of a file beside its path
_FIRST, _LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


@dataclass(frozen=True)
class OutputListing:
    """Output files, sorted by path. message: what was left out, as a sentence."""

    files: tuple[OutputFile, ...]
    message: str = ""


def list_outputs(folder: TaskFolder, *, max_files: int = _MAX_FILES, max_bytes: int = _MAX_LIST_BYTES) -> OutputListing:
    """List the regular files below outputs, at most `max_files` and 32 levels deep; none if there is no such folder.

    max_bytes: of the whole list, as it travels. Raises OSError.
    """
    found: list[OutputFile] = []
    left_out: Counter[str] = Counter()
    try:
        for path, status in _walk(folder):
            if status.st_nlink > 1:
                left_out["they are hard links (copy them)"] += 1
            elif not path.isprintable():  # bytes that are not UTF-8, or control characters: JSON cannot carry them
                left_out["their names are not plain text"] += 1
            elif len(found) >= max_files:
                left_out[f"there are more than {max_files}"] += 1
            elif (max_bytes := max_bytes - _measure(path)) < 0:
                left_out["their names make the list too long"] += 1
            else:
                at = _read_time(status)
                found.append(OutputFile(path=path, size=status.st_size, modified_at=at))
    except FileNotFoundError:
        return OutputListing(())
    reasons = [f"{count} files are left out, because {reason}." for reason, count in left_out.items()]
    return OutputListing(tuple(sorted(found, key=lambda file: file.path)), " ".join(reasons))


def _measure(path: str) -> int:
    """Bytes of the file's entry in the list: a quote or a backslash takes two."""
    return len(path.encode()) + path.count('"') + path.count("\\") + _FILE_JSON_BYTES


def _read_time(status: os.stat_result) -> datetime:
    """When the file was changed. User code may set any time; what no calendar has becomes the nearest day of one."""
    try:
        at = datetime.fromtimestamp(status.st_mtime, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return _LAST if status.st_mtime > 0 else _FIRST
    return min(max(at, _FIRST), _LAST)


def read_output(folder: TaskFolder, path: str, offset: int, length: int) -> FileBytes:
    """Read at most 8 MiB of `outputs/<path>`. Raises OSError: FileNotFoundError if that is not a regular file."""
    with open_file_below(folder.path.parent, (folder.task_id, folder.outputs.name, *path.split("/"))) as descriptor:
        status = os.fstat(descriptor)
        if status.st_nlink > 1:
            raise PermissionError(errno.EPERM, "it is a hard link, and those are not sent; copy the file", path)
        size = status.st_size
        start = resolve_offset(offset, size)
        data = os.pread(descriptor, max(0, min(length, MAX_READ_BYTES)), start)
        return FileBytes(data, start, max(size, start + len(data)) if data else size)


def _walk(folder: TaskFolder) -> Iterator[tuple[str, os.stat_result]]:
    """The regular files, of the first entries: user code can make millions, and each costs a call of the file system.

    Each folder is opened again from the top: few descriptors are open, and no path is resolved twice.
    """
    trusted, top = folder.path.parent, (folder.task_id, folder.outputs.name)
    waiting: list[tuple[str, ...]] = [()]
    count = 0
    while waiting and count < _MAX_ENTRIES:
        parts = waiting.pop()
        try:
            with open_folder_below(trusted, (*top, *parts)) as opened:
                for name, status in islice(read_entries(opened), _MAX_ENTRIES - count):
                    count += 1
                    if stat.S_ISREG(status.st_mode):
                        yield "/".join((*parts, name)), status
                    elif stat.S_ISDIR(status.st_mode) and len(top) + len(parts) + 2 <= MAX_DEPTH:
                        waiting.append((*parts, name))
        except OSError:
            if not parts:
                raise  # else it was removed, or replaced by a link, since it was listed
