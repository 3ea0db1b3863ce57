"""Durable files: records and advice are written complete or not at all, and synced. The agent's go through here.

Shared file systems lie: an error may come after the effect (rename(2), BUGS), a name may be stale (ESTALE). So the
outcome is always read back, never taken from the call.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mltm.contract.spool_layout import is_ignored

__all__ = [
    "NEW_FILE",
    "READ",
    "NoFileError",
    "link_once",
    "list_folders",
    "list_names",
    "make_folder",
    "make_own_folder",
    "move",
    "read_bytes",
    "remove",
    "replace",
    "sync_folder",
    "unlinked_name",
]

_T = TypeVar("_T")
_STALE_RETRIES = 10
# What is there already is never written to, a link never followed; a pipe is opened without waiting for its other end.
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NoFileError(OSError):
    """What is there is no regular file: no other look will find one."""


def _retry_stale(step: Callable[[], _T]) -> _T:
    for _ in range(_STALE_RETRIES):
        try:
            return step()
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
    return step()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unlinked_name(target: Path, nonce: str) -> Path:
    """The private name under which a file is made before it is put in place; scans ignore it."""
    return target.with_name(f".{target.name}.{nonce}")


def _write_private(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, NEW_FILE, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)  # may be the first to report a failed write on a network file system


def link_once(path: Path, data: bytes, nonce: str, mode: int = 0o644) -> bytes:
    """Put a record in place by link(2) unless one is there; return what was decided (the record that is there now).

    Won means that the returned bytes are `data`; they carry the caller's nonce, so no other process can have
    written them. The folder is synced in both cases, before anybody acts on the record. Raises OSError where
    nothing was decided.
    """
    private = unlinked_name(path, nonce)
    try:
        _write_private(private, data, mode)
        with contextlib.suppress(OSError):  # even EEXIST and EIO: the record read back decides
            os.link(private, path)
    finally:
        with contextlib.suppress(OSError):
            private.unlink()
    decided = read_bytes(path)
    if decided is None:
        raise OSError(errno.EIO, "the record could not be put in place", str(path))
    sync_folder(path.parent)
    return decided


def replace(path: Path, data: bytes, nonce: str, mode: int = 0o644) -> None:
    """Write advice (a file that decides nothing): whole or not at all, the last writer wins. Raises OSError."""
    private = unlinked_name(path, nonce)
    try:
        _write_private(private, data, mode)
        private.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            private.unlink()
        raise
    sync_folder(path.parent)


def read_bytes(path: Path, max_bytes: int = 4 * 1024 * 1024) -> bytes | None:
    """Read a regular file, following no link; None where there is none. Raises OSError for any other trouble.

    NoFileError: something else has taken the name.
    """

    def step() -> bytes | None:
        try:
            descriptor = os.open(path, READ)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:  # O_NOFOLLOW met a link
                raise NoFileError(errno.EINVAL, "not a regular file", str(path)) from error
            raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)  # a folder's would stay open: fdopen fails with it, and closes nothing
            raise NoFileError(errno.EINVAL, "not a regular file", str(path))
        with os.fdopen(descriptor, "rb") as file:
            return file.read(max_bytes)

    return _retry_stale(step)


def list_names(folder: Path) -> list[str]:
    """The names in a folder, sorted, without dot files; [] where there is no such folder. Raises OSError."""
    try:
        return sorted(name for name in _retry_stale(lambda: os.listdir(folder)) if not is_ignored(name))  # noqa: PTH208 - names only, one call
    except FileNotFoundError:
        return []


def list_folders(folder: Path) -> set[str]:
    """The names in a folder that are folders themselves, links not followed. Raises OSError."""

    def step() -> set[str]:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}

    try:
        return _retry_stale(step)
    except FileNotFoundError:
        return set()


def make_folder(folder: Path, mode: int = 0o755) -> None:
    """Make a folder and its parents, durably; it may be there already. Raises OSError."""
    if folder.is_dir():
        return
    make_folder(folder.parent, mode)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=mode)
    sync_folder(folder.parent)


def make_own_folder(folder: Path) -> None:
    """Make a folder for this uid only, durably. One that is there is taken, a link never.

    Raises OSError, NotADirectoryError where something else has the name.
    """
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "This is not a folder; move it away", str(folder)) from None
    sync_folder(folder.parent)


def move(source: Path, target: Path) -> bool:
    """Rename; True where the source is now at the target, False where somebody else was first.

    An error that comes after the effect counts as done: the names are looked at, not the return value.
    """
    try:
        identity = source.lstat()
    except FileNotFoundError:
        return False
    try:
        source.rename(target)
    except OSError as error:
        if error.errno not in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOENT, errno.EIO, errno.ESTALE}:
            raise
        with contextlib.suppress(FileNotFoundError):
            there = target.lstat()
            if (there.st_dev, there.st_ino) == (identity.st_dev, identity.st_ino):
                sync_folder(target.parent)
                return True
        if error.errno == errno.EIO:
            raise
        return False
    sync_folder(target.parent)
    if source.parent != target.parent:
        sync_folder(source.parent)
    return True


def remove(path: Path) -> None:
    """Remove a file; it may be gone already. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
