"""What tells that a file has changed: its name, its size and its times. Reads only."""

import stat
from collections.abc import Iterable
from typing import NamedTuple

from mltm.runtime.hostile_files import Folder, stat_at

__all__ = ["FileStamp", "Stamps", "read_stamp", "read_stamps"]


class FileStamp(NamedTuple):
    """One file at one instant. size: -1 if it is not a regular file. The times are 0 if it is not there."""

    name: str
    size: int
    mtime_ns: int
    ctime_ns: int


Stamps = tuple[FileStamp, ...]


def read_stamp(folder: Folder, name: str) -> FileStamp:
    """Stat a file in an open folder, following no link. Raises OSError, but not for a file that is not there."""
    try:
        status = stat_at(folder, name)
    except FileNotFoundError:
        return FileStamp(name, -1, 0, 0)
    size = status.st_size if stat.S_ISREG(status.st_mode) else -1
    return FileStamp(name, size, status.st_mtime_ns, status.st_ctime_ns)


def read_stamps(folder: Folder, names: Iterable[str]) -> Stamps:
    """Stat several files in an open folder. Raises OSError."""
    return tuple(read_stamp(folder, name) for name in names)
