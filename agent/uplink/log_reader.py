"""Reads a task's log from its numbered pieces (`logs/a01/out.000000`, …). The middle of a long log is dropped."""

import os
import re
from pathlib import Path

from agent.uplink.file_bytes import MAX_READ_BYTES, FileBytes, resolve_offset
from mltm.contract.spool_layout import PIECE_BYTES, TaskFolder
from mltm.runtime.hostile_files import open_file_below, open_folder_below, read_entries

__all__ = ["read_log_bytes", "read_newest_attempt"]

_PIECE = re.compile(r"out\.([0-9]{6,})")


def read_log_bytes(folder: TaskFolder, attempt: int, offset: int, length: int) -> FileBytes:
    """Read from `offset` on, at most 8 MiB and not across a gap. Raises OSError.

    If the bytes at `offset` were dropped, the answer begins at the next ones that are there.
    """
    place = (folder.task_id, folder.logs.name, folder.attempt_logs(attempt).name)
    sizes = _read_sizes(folder.path.parent, place)
    end = max((number * PIECE_BYTES + size for number, size in sizes.items()), default=0)
    start = _next_kept(resolve_offset(offset, end), sizes, end)
    data = bytearray()
    wanted = max(0, min(length, MAX_READ_BYTES))
    while len(data) < wanted:
        number, within = divmod(start + len(data), PIECE_BYTES)
        if within >= min(sizes.get(number, 0), PIECE_BYTES):
            break
        try:
            with open_file_below(folder.path.parent, (*place, f"out.{number:06d}")) as descriptor:
                part = os.pread(descriptor, min(wanted - len(data), PIECE_BYTES - within), within)
        except FileNotFoundError:  # dropped since it was listed
            break
        if not part:
            break
        data += part
    return FileBytes(bytes(data), start, max(end, start + len(data)) if data else end)


def read_newest_attempt(folder: TaskFolder) -> int | None:
    """The number of the newest attempt that has a log folder; None before the first. Raises OSError."""
    entries = _list(folder.path.parent, (folder.task_id, folder.logs.name))
    numbers = [int(name[1:]) for name, _ in entries if _is_attempt(name)]
    return max(numbers, default=None)


def _is_attempt(name: str) -> bool:
    return name[:1] == "a" and name[1:].isascii() and name[1:].isdigit()


def _list(trusted: Path, place: tuple[str, ...]) -> list[tuple[str, os.stat_result]]:
    try:
        with open_folder_below(trusted, place) as opened:
            return list(read_entries(opened))
    except FileNotFoundError:  # no log yet
        return []


def _read_sizes(trusted: Path, place: tuple[str, ...]) -> dict[int, int]:
    pieces = ((_PIECE.fullmatch(name), status) for name, status in _list(trusted, place))
    return {int(found[1]): status.st_size for found, status in pieces if found}


def _next_kept(offset: int, sizes: dict[int, int], end: int) -> int:
    """The first offset from here on that is on disk; `offset` itself if nothing follows."""
    number, within = divmod(offset, PIECE_BYTES)
    if offset >= end or within < sizes.get(number, 0):
        return offset
    return min((later * PIECE_BYTES for later, size in sizes.items() if later > number and size), default=offset)
