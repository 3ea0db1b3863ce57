"""Reads and writes below a folder that somebody else can change: user code, or another account.

From open folders, so that no link is followed and no path is looked up twice. A pipe blocks nobody. Names of what is
being built cannot be guessed, and only new files are written to. It knows nothing of tasks.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mltm.runtime.files import NEW_FILE, READ

__all__ = [
    "MAX_DEPTH", "Folder", "exists_at", "list_names", "make_folder_at", "make_private_name", "open_at",
    "open_file_below", "open_folder", "open_folder_at", "open_folder_below", "read_entries", "remove_tree_at",
    "rename_at", "stat_at",
    "sync", "write_new_at",
]  # fmt: skip

# O_PATH needs no permission to read the folder, and opens no pipe or device.
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MAX_DEPTH = 32


@dataclass(frozen=True)
class Folder:
    """An open folder. `path` is where it was found, for messages only."""

    descriptor: int
    path: Path


@contextmanager
def open_folder(path: Path) -> Iterator[Folder]:
    """Open a folder by its absolute path, step by step from the root. Raises OSError (ELOOP: a link is in the way)."""
    with open_folder_below(Path("/"), path.absolute().parts[1:]) as folder:
        yield folder


@contextmanager
def open_folder_below(trusted: Path, parts: Sequence[str]) -> Iterator[Folder]:
    """Open the folder `trusted/parts…`: links may lead to `trusted`, not below it. Raises OSError (ELOOP: a link)."""
    with contextlib.ExitStack() as stack:
        folder = Folder(os.open(trusted, _FOLDER & ~os.O_NOFOLLOW), trusted)
        stack.callback(os.close, folder.descriptor)
        for name in parts:
            folder = stack.enter_context(open_folder_at(folder, name))
        yield folder


@contextmanager
def open_file_below(trusted: Path, parts: Sequence[str]) -> Iterator[int]:
    """Open the regular file `trusted/parts…` for reading. Raises OSError; FileNotFoundError also for a non-file."""
    if not _is_plain_path(parts):
        raise FileNotFoundError(errno.ENOENT, "not a path of a file here", "/".join(parts))
    with open_folder_below(trusted, parts[:-1]) as folder:
        descriptor = open_at(folder, parts[-1])
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileNotFoundError(errno.ENOENT, "not a regular file", parts[-1])
        yield descriptor
    finally:
        os.close(descriptor)


def _is_plain_path(parts: Sequence[str]) -> bool:
    """True for names that can only lead down, at most MAX_DEPTH of them."""
    plain = all(part not in {"", ".", ".."} and "/" not in part and "\0" not in part for part in parts)
    return plain and 0 < len(parts) <= MAX_DEPTH


def open_at(folder: Folder, name: str) -> int:
    """Open whatever has this name for reading; the caller looks at what it is, and closes it. Raises OSError."""
    with _named(folder, name):
        return os.open(name, READ, dir_fd=folder.descriptor)


def stat_at(folder: Folder, name: str) -> os.stat_result:
    """What has this name; a link is a link. Raises OSError."""
    with _named(folder, name):
        return os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False)


@contextmanager
def open_folder_at(parent: Folder, name: str) -> Iterator[Folder]:
    """Open a folder in an open one. Raises OSError (ELOOP: a link is in the way)."""
    with _named(parent, name):
        descriptor = os.open(name, _FOLDER, dir_fd=parent.descriptor)
    try:
        yield Folder(descriptor, parent.path / name)
    finally:
        os.close(descriptor)


def make_folder_at(parent: Folder, name: str, mode: int) -> None:
    """Make a folder with exactly this mode. Raises OSError (FileExistsError)."""
    with _named(parent, name):
        os.mkdir(name, mode, dir_fd=parent.descriptor)
    with open_folder_at(parent, name) as made, _named(parent, name):
        os.chmod(".", mode, dir_fd=made.descriptor)  # mkdir obeys the umask


def write_new_at(folder: Folder, name: str, data: bytes, mode: int) -> None:
    """Make a file with exactly this mode, and sync it. Raises OSError (FileExistsError)."""
    with _named(folder, name):
        descriptor = os.open(name, NEW_FILE, mode, dir_fd=folder.descriptor)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)


def rename_at(source: Folder, name: str, target: Folder, new_name: str) -> None:
    """Rename whatever has this name; a link is renamed itself. Raises OSError."""
    with _named(source, name):
        try:
            os.rename(name, new_name, src_dir_fd=source.descriptor, dst_dir_fd=target.descriptor)
        except (IsADirectoryError, NotADirectoryError) as error:
            raise OSError(error.errno, error.strerror, str(target.path / new_name)) from error


def remove_tree_at(folder: Folder, name: str, *, depth: int = 0) -> None:
    """Remove whatever has this name, with all that is below it; nothing there is fine. Raises OSError."""
    with _named(folder, name):
        try:
            os.unlink(name, dir_fd=folder.descriptor)
        except FileNotFoundError:
            return
        except IsADirectoryError:
            if depth >= MAX_DEPTH:
                raise OSError(errno.ELOOP, f"more than {MAX_DEPTH} folders are in each other", name) from None
        else:
            return
    with open_folder_at(folder, name) as inner:
        for each in list_names(inner):
            remove_tree_at(inner, each, depth=depth + 1)
    with _named(folder, name):
        os.rmdir(name, dir_fd=folder.descriptor)


def exists_at(folder: Folder, name: str) -> bool:
    """True where anything has this name, a link that leads nowhere too. Raises OSError."""
    try:
        stat_at(folder, name)
    except FileNotFoundError:
        return False
    return True


def list_names(folder: Folder) -> list[str]:
    """The names in a folder. Raises OSError."""
    with _readable(folder) as descriptor:
        return os.listdir(descriptor)  # noqa: PTH208 - pathlib knows no descriptors


def read_entries(folder: Folder) -> Iterator[tuple[str, os.stat_result]]:
    """The names in a folder with what they are, one by one: there may be millions. Raises OSError.

    What goes away meanwhile is left out.
    """
    with _readable(folder) as descriptor, os.scandir(descriptor) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                yield entry.name, stat_at(folder, entry.name)


def sync(folder: Folder) -> None:
    """Make durable which names are in a folder. Raises OSError."""
    with _readable(folder) as descriptor:
        os.fsync(descriptor)


def make_private_name(stem: str, suffix: str = "") -> str:
    """A name that nobody can have taken before: the stem, 16 random hex digits, the suffix."""
    return f"{stem}.{secrets.token_hex(8)}{suffix}"


@contextmanager
def _readable(folder: Folder) -> Iterator[int]:
    """The same folder once more, for what O_PATH cannot do."""
    with _named(folder, "."):
        descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder.descriptor)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


@contextmanager
def _named(folder: Folder, name: str) -> Iterator[None]:
    """An error says the whole path, and that a link is one."""
    path = str(folder.path / name)
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP) and _is_link(folder, name):
            raise OSError(errno.ELOOP, "a symbolic link is in the way, and it is not followed", path) from error
        if not str(error.filename).startswith("/"):
            error.filename, error.filename2 = path, None
        raise


def _is_link(folder: Folder, name: str) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISLNK(os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False).st_mode)
    return False
