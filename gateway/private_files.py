"""The gateway's own folders and files: for its account only, whatever the umask is.

What is there already with a wider mode is tightened if it is ours, and said once in the log.
"""

import os
import stat
from pathlib import Path
from typing import BinaryIO

import structlog

__all__ = ["FILE_MODE", "FOLDER_MODE", "create_private_file", "make_private_file", "make_private_folder"]

FOLDER_MODE, FILE_MODE = 0o700, 0o600
_log = structlog.get_logger(__name__)


def make_private_folder(folder: Path) -> None:
    """Make a folder (and its parents, with usual modes), or tighten the one that is there. Raises OSError."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(FOLDER_MODE)
    except FileExistsError:
        if not folder.is_dir():
            raise
    _tighten(folder, FOLDER_MODE)


def make_private_file(path: Path) -> None:
    """Make an empty file, or tighten the one that is there; what it has in it stays. Raises OSError."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
    _tighten(path, FILE_MODE)


def create_private_file(path: Path) -> BinaryIO:
    """Open a new file for writing, without a buffer. Raises FileExistsError, OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    return os.fdopen(descriptor, "wb", 0)


def _tighten(path: Path, mode: int) -> None:
    """Take away what is more than `mode`. What belongs to another account is left as it is, and named."""
    found = path.stat()
    before = stat.S_IMODE(found.st_mode)
    if not before & 0o777 & ~mode:
        return
    if found.st_uid != os.geteuid():
        _log.warning("folder_too_open", path=str(path), mode=f"{before:04o}", message="It belongs to another account.")
        return
    path.chmod(before & mode)
    _log.warning("mode_tightened", path=str(path), before=f"{before:04o}", now=f"{before & mode:04o}")
