"""Opens what lies beneath a folder that user code can write to: no link is followed at any step, and no pipe blocks.

`..`, absolute paths and links could lead the agent to any file of its user, and so to whoever asks the gateway.
"""

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["MAX_DEPTH", "is_plain_path", "list_entries", "open_file", "open_folder"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
MAX_DEPTH = 32


def is_plain_path(parts: Sequence[str]) -> bool:
    """True for names that can only lead down, at most MAX_DEPTH of them."""
    plain = all(part not in {"", ".", ".."} and "/" not in part and "\0" not in part for part in parts)
    return plain and 0 < len(parts) <= MAX_DEPTH


@contextmanager
def open_folder(trusted: Path, parts: Sequence[str]) -> Iterator[int]:
    """Open the folder `trusted/parts…`, one component after the other. Raises OSError (ELOOP, ENOTDIR: a link)."""
    descriptor = os.open(trusted, _FOLDER & ~os.O_NOFOLLOW)
    try:
        for part in parts:
            deeper = os.open(part, _FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = deeper
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def open_file(trusted: Path, parts: Sequence[str]) -> Iterator[int]:
    """Open the regular file `trusted/parts…` for reading. Raises OSError; FileNotFoundError also for a non-file."""
    if not is_plain_path(parts):
        raise FileNotFoundError(2, "not a path of a file here", "/".join(parts))
    with open_folder(trusted, parts[:-1]) as folder:
        descriptor = os.open(parts[-1], _FILE, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileNotFoundError(2, "not a regular file", parts[-1])
        yield descriptor
    finally:
        os.close(descriptor)


def list_entries(folder: int) -> list[tuple[str, os.stat_result]]:
    """List an open folder: names with what they are (a link is a link). What goes away meanwhile is passed over."""
    entries: list[tuple[str, os.stat_result]] = []
    for name in os.listdir(folder):  # pathlib knows no descriptors
        with contextlib.suppress(FileNotFoundError):
            entries.append((name, os.stat(name, dir_fd=folder, follow_symlinks=False)))
    return entries
