"""Reads what a command may ask for of a task, its log or one of its outputs, and tells whether more will come."""

import re
from dataclasses import replace

from agent.uplink.file_bytes import FileBytes
from agent.uplink.log_reader import read_log_bytes, read_newest_attempt
from agent.uplink.outputs import read_output
from mltm.contract.spool_layout import Spool, TaskFolder
from mltm.runtime import files

__all__ = ["is_attempt_over", "is_task_over", "read_task_file"]

_OUTPUTS = "outputs/"
_INTENT = re.compile(r"intent\.([0-9]{2,})")
_CLOSED = b'{"kind":"closed"'


def read_task_file(
    spool: Spool, folder: TaskFolder, file: str, attempt: int | None, offset: int, length: int
) -> tuple[FileBytes, bool]:
    """Read part of `log` or `outputs/<path>`, and whether the file is final. attempt: None for the newest one's log.

    "Final" is read before the bytes, so that a file that grows in between is not taken as complete. Raises OSError.
    """
    if file.startswith(_OUTPUTS):
        is_final = is_task_over(spool, folder)
        return read_output(folder, file.removeprefix(_OUTPUTS), offset, length), is_final
    if file != "log":
        raise FileNotFoundError(2, "only 'log' and 'outputs/<path>' can be read", file)
    number = attempt if attempt is not None else read_newest_attempt(folder)
    if number is None:
        return FileBytes(b"", max(0, offset), 0), is_task_over(spool, folder)
    is_final = is_attempt_over(spool, folder, number)
    return replace(read_log_bytes(folder, number, offset, length), attempt=number), is_final


def is_attempt_over(spool: Spool, folder: TaskFolder, attempt: int) -> bool:
    """True if the attempt's log is final: there is its exit record, its successor or the task's end. Raises OSError."""
    this, following = folder.attempt(attempt), folder.attempt(attempt + 1)
    return this.exit.exists() or following.intent.exists() or is_task_over(spool, folder)


def is_task_over(spool: Spool, folder: TaskFolder) -> bool:
    """True if the task's end is recorded. Raises OSError."""
    if spool.tombstone(folder.task_id).exists():
        return True
    numbers = [int(found[1]) for name in files.list_names(folder.control) if (found := _INTENT.fullmatch(name))]
    newest = max(numbers, default=None)
    return newest is not None and (files.read_bytes(folder.attempt(newest).intent) or b"").startswith(_CLOSED)
