"""Builds private copies of what users sent, and takes folders away again. Nothing is ever run from its source.

Sources are opened in an open folder (`hostile_files`); only regular files count (threat T6). A copy is hashed while it
is written.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mltm.contract.ids import TaskId
from mltm.contract.manifest import BundleFile
from mltm.contract.spool_layout import Spool
from mltm.runtime import files
from mltm.runtime.hostile_files import Folder, open_at

__all__ = [
    "BadSourceError", "Copied", "Place", "build_staging", "copy_file", "copy_listed", "discard",
    "open_source", "publish", "read_small",
]  # fmt: skip

_BLOCK = 1024 * 1024


class BadSourceError(Exception):
    """A file that cannot be taken, said in a sentence."""


@dataclass(frozen=True)
class Copied:
    """What was copied, and the source's (size, mtime, ctime) around it: where they differ, somebody was writing."""

    size: int
    sha256: str
    is_steady: bool


@dataclass(frozen=True)
class Place:
    """A private copy under way: a folder that will be tasks/<task>."""

    path: Path

    @property
    def control(self) -> Path:
        """The log's folder."""
        return self.path / "control"

    @property
    def input(self) -> Path:
        """The user's files."""
        return self.path / "input"


@contextmanager
def open_source(folder: Folder, name: str, *, own_uid: int | None = None) -> Iterator[int]:
    """Open a regular file with one name; of `own_uid` where given. Raises BadSourceError, OSError."""
    try:
        descriptor = open_at(folder, name)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise BadSourceError(f"{name!a} is a symbolic link; send the file itself.") from error
        if error.errno == errno.ENXIO:
            raise BadSourceError(f"{name!a} is not a regular file.") from error
        raise
    try:
        _check_source(os.fstat(descriptor), name, own_uid)
        yield descriptor
    finally:
        os.close(descriptor)


def _check_source(seen: os.stat_result, name: str, own_uid: int | None) -> None:
    if not stat.S_ISREG(seen.st_mode):
        raise BadSourceError(f"{name!a} is not a regular file.")
    if seen.st_nlink > 1:
        raise BadSourceError(f"{name!a} has {seen.st_nlink} names (hard links); send a copy of its own.")
    if own_uid is not None and seen.st_uid != own_uid:
        raise BadSourceError(f"{name!a} belongs to another user (uid {seen.st_uid}); it must be the agent's own.")


def read_small(folder: Folder, name: str, max_bytes: int, *, own_uid: int | None = None) -> bytes:
    """Read at most `max_bytes` + 1 bytes of a regular file. Raises BadSourceError, OSError."""
    with open_source(folder, name, own_uid=own_uid) as descriptor:
        parts, wanted = [], max_bytes + 1
        while wanted and (part := os.read(descriptor, min(wanted, _BLOCK))):
            parts.append(part)
            wanted -= len(part)
        return b"".join(parts)


def copy_file(
    folder: Folder, name: str, target: Path, *, max_bytes: int | None = None, own_uid: int | None = None
) -> Copied:
    """Copy a regular file, synced; stops after `max_bytes` + 1 bytes. Raises BadSourceError, OSError."""
    digest, size = hashlib.sha256(), 0
    with open_source(folder, name, own_uid=own_uid) as source:
        before = _fingerprint(source)
        descriptor = os.open(target, files.NEW_FILE, 0o644)
        with os.fdopen(descriptor, "wb") as copy:
            while block := os.read(source, _BLOCK):
                digest.update(block)
                copy.write(block)
                size += len(block)
                if max_bytes is not None and size > max_bytes:
                    break
            copy.flush()
            os.fsync(copy.fileno())
        is_steady = _fingerprint(source) == before and size == before[0]
    return Copied(size, digest.hexdigest(), is_steady)


def _fingerprint(descriptor: int) -> tuple[int, int, int]:
    seen = os.fstat(descriptor)
    return seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def build_staging(spool: Spool, task_id: TaskId, nonce: str) -> Place:
    """Make the folders of a private copy: `control` first, so that it is never empty. Raises OSError."""
    place = Place(spool.staging / f"{task_id}.{nonce}")
    place.path.mkdir(mode=0o755)
    for folder in spool.task(task_id).folders:
        (place.path / folder.name).mkdir(mode=0o700 if folder.name == "control" else 0o755)
    return place


def copy_listed(folder: Folder, listed: BundleFile, target: Path) -> None:
    """Copy a file that a manifest lists. Raises BadSourceError where size or hash differ, OSError."""
    copied = copy_file(folder, listed.name, target, max_bytes=listed.size)
    if copied.size != listed.size:
        given = "more" if copied.size > listed.size else f"{copied.size:,}"
        raise BadSourceError(f"{listed.name!a} has {given} bytes where the manifest says {listed.size:,}.")
    if copied.sha256 != listed.sha256:
        raise BadSourceError(f"The SHA-256 of {listed.name!a} is not the one that the manifest says.")


def publish(spool: Spool, task_id: TaskId, place: Place) -> bool:
    """Put a finished copy in place; False where somebody's folder is there. Raises OSError.

    The marker comes first: a task that nobody looks at would be lost, a marker without a task is only looked at.
    """
    for folder in (place.input, place.control, place.path):
        files.sync_folder(folder)
    files.replace(spool.active / task_id, b"", place.path.name.rpartition(".")[2], 0o600)
    return files.move(place.path, spool.tasks / task_id)


def discard(spool: Spool, path: Path, nonce: str) -> None:
    """Take a folder away: renamed first, so that nobody can publish or find a half of it. Raises OSError."""
    away = spool.staging / f".gone.{nonce}"
    with contextlib.suppress(FileNotFoundError):
        path.rename(away)
        shutil.rmtree(away)
