"""Makes private copies of the files that users sent. Nothing is ever run from its source.

Whoever can write there may put a link to a file of the agent's, a pipe or a file of another user in a source's place.
So a source is opened in an open folder (`hostile_files`), and only a regular file is copied. A copy is hashed while it
is written.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mltm.contract.manifest import BundleFile
from mltm.runtime import files
from mltm.runtime.hostile_files import Folder, open_at

__all__ = [
    "BadSourceError", "Copied", "copy_file", "copy_listed", "open_source", "read_small",
]  # fmt: skip

_BLOCK = 1024 * 1024


class BadSourceError(Exception):
    """A file that cannot be accepted; the message is a sentence for its owner."""


@dataclass(frozen=True)
class Copied:
    """What was copied. is_steady: the source's size and times did not change meanwhile, so that nobody was writing."""

    size: int
    sha256: str
    is_steady: bool


@contextmanager
def open_source(folder: Folder, name: str, *, own_uid: int | None = None) -> Iterator[int]:
    """Open a regular file with one name; of `own_uid` if given. Raises BadSourceError, OSError."""
    try:
        descriptor = open_at(folder, name)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.EMLINK}:
            raise BadSourceError(f"{name!a} is a symbolic link. Send the file itself.") from error
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
        raise BadSourceError(f"{name!a} has {seen.st_nlink} names (hard links). Send a copy of its own.")
    if own_uid is not None and seen.st_uid != own_uid:
        raise BadSourceError(f"{name!a} belongs to another user (uid {seen.st_uid}). The agent's user must own it.")


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


def copy_listed(folder: Folder, listed: BundleFile, target: Path) -> None:
    """Copy a file that a manifest lists. Raises BadSourceError if its size or hash differs, OSError."""
    copied = copy_file(folder, listed.name, target, max_bytes=listed.size)
    if copied.size != listed.size:
        given = "more bytes" if copied.size > listed.size else f"{copied.size:,} bytes"
        raise BadSourceError(f"{listed.name!a} has {given}; the manifest says {listed.size:,}.")
    if copied.sha256 != listed.sha256:
        raise BadSourceError(f"The SHA-256 of {listed.name!a} differs from the manifest's.")
