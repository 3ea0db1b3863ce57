"""Writes below a folder that another account can change: from open folders, no link followed, no path looked up twice.

Names of what is being built cannot be guessed, and only new files are opened, so that nothing planted is ever
written to or waited for. It knows nothing of tasks.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Folder", "exists_at", "list_names", "make_folder_at", "make_private_name", "open_folder", "open_folder_at",
    "remove_tree_at", "rename_at", "sync", "write_new_at",
]  # fmt: skip

# O_PATH needs no permission to read the folder, and opens no pipe or device.
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_DEPTH = 32


@dataclass(frozen=True)
class Folder:
    """An open folder. `path` is where it was found, for messages only."""

    descriptor: int
    path: Path


@contextmanager
def open_folder(path: Path) -> Iterator[Folder]:
    """Open a folder by its absolute path, step by step from the root. Raises OSError (ELOOP: a link is in the way)."""
    with contextlib.ExitStack() as stack:
        folder = Folder(os.open("/", _FOLDER), Path("/"))
        stack.callback(os.close, folder.descriptor)
        for name in path.absolute().parts[1:]:
            folder = stack.enter_context(open_folder_at(folder, name))
        yield folder


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
        descriptor = os.open(name, _NEW_FILE, mode, dir_fd=folder.descriptor)
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
            if depth >= _MAX_DEPTH:
                raise OSError(errno.ELOOP, f"more than {_MAX_DEPTH} folders are in each other", name) from None
        else:
            return
    with open_folder_at(folder, name) as inner:
        for each in list_names(inner):
            remove_tree_at(inner, each, depth=depth + 1)
    with _named(folder, name):
        os.rmdir(name, dir_fd=folder.descriptor)


def exists_at(folder: Folder, name: str) -> bool:
    """True where anything has this name, a link that leads nowhere too. Raises OSError."""
    with _named(folder, name):
        try:
            os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True


def list_names(folder: Folder) -> list[str]:
    """The names in a folder. Raises OSError."""
    with _readable(folder) as descriptor:
        return os.listdir(descriptor)  # noqa: PTH208 - pathlib knows no descriptors


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
