"""Lists a task's output files, and reads pieces of them. User code owns that folder and may have planted anything."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from mltm.contract.agent_api import OutputFile
from mltm.contract.spool_layout import TaskFolder
from mltm.runtime.hostile_files import MAX_DEPTH, list_entries, open_file_below, open_folder_below

__all__ = ["MAX_PIECE_BYTES", "Listing", "Piece", "list_outputs", "read_output", "resolve_offset"]

MAX_PIECE_BYTES = 8 * 1024 * 1024
_MAX_FILES = 10_000
_MAX_LOOKED_AT = 100_000


@dataclass(frozen=True)
class Piece:
    """Bytes of a file from `offset` on; the file has `size` bytes by now."""

    data: bytes
    offset: int
    size: int


@dataclass(frozen=True)
class Listing:
    """Output files by path, and in words what was left out."""

    files: tuple[OutputFile, ...]
    message: str = ""


def list_outputs(folder: TaskFolder, *, most: int = _MAX_FILES) -> Listing:
    """List the regular files below outputs, at most `most` and 32 levels deep; none for a missing folder."""
    found: list[OutputFile] = []
    unnamed = 0
    try:
        for path, status in _walk(folder):
            if len(found) >= most:
                return Listing(_sorted(found), f"There are more than {most} files; only {most} are listed.")
            if (
                not path.isprintable()
            ):  # not UTF-8 (surrogates), or control characters: it cannot travel in JSON and back
                unnamed += 1
                continue
            at = datetime.fromtimestamp(status.st_mtime, tz=UTC)
            found.append(OutputFile(path=path, size=status.st_size, modified_at=at))
    except FileNotFoundError:
        return Listing(())
    message = f"{unnamed} files whose names are no plain text are left out." if unnamed else ""
    return Listing(_sorted(found), message)


def read_output(folder: TaskFolder, path: str, offset: int, length: int) -> Piece:
    """Read at most 8 MiB of `outputs/<path>`. Raises OSError: FileNotFoundError for what is no regular file."""
    with open_file_below(folder.path.parent, (folder.task_id, folder.outputs.name, *path.split("/"))) as descriptor:
        size = os.fstat(descriptor).st_size
        start = resolve_offset(offset, size)
        data = os.pread(descriptor, max(0, min(length, MAX_PIECE_BYTES)), start)
        return Piece(data, start, max(size, start + len(data)) if data else size)


def resolve_offset(offset: int, size: int) -> int:
    """A negative offset counts from the end."""
    return offset if offset >= 0 else max(0, size + offset)


def _is_text(path: str) -> bool:
    """False for control characters, and for bytes that are not UTF-8 (Python shows them as surrogates)."""
    return not any(ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in path)


def _sorted(found: list[OutputFile]) -> tuple[OutputFile, ...]:
    return tuple(sorted(found, key=lambda file: file.path))


def _walk(folder: TaskFolder) -> Iterator[tuple[str, os.stat_result]]:
    """Each folder is opened anew from above: few descriptors at a time, and no path that is looked up twice."""
    trusted, top = folder.path.parent, (folder.task_id, folder.outputs.name)
    waiting: list[tuple[str, ...]] = [()]
    looked_at = 0
    while waiting:
        parts = waiting.pop()
        try:
            with open_folder_below(trusted, (*top, *parts)) as opened:
                entries = list_entries(opened)
        except OSError:
            if not parts:
                raise
            continue  # gone or swapped for a link since it was listed
        for name, status in entries:
            looked_at += 1
            if looked_at > _MAX_LOOKED_AT:
                return
            if stat.S_ISREG(status.st_mode):
                yield "/".join((*parts, name)), status
            elif stat.S_ISDIR(status.st_mode) and len(top) + len(parts) + 2 <= MAX_DEPTH:
                waiting.append((*parts, name))
