"""Tells the processes of a trial's jobs apart: whose wrapper it is, and the user's code."""

import contextlib
import os
from pathlib import Path

from lab import processes

__all__ = ["is_code", "is_wrapper", "read_task_id"]


def read_task_id(pid: int, spool: Path) -> str:
    """The task whose wrapper this process is. "" if it is not a wrapper."""
    arguments, folder = _read_arguments(pid), os.fsencode(spool)
    return arguments[arguments.index(folder) + 1].decode() if folder in arguments else ""


def is_wrapper(pid: int, spool: Path) -> bool:
    """True for a job's main shell: it leads a session, and the spool is among its arguments."""
    with contextlib.suppress(OSError):
        return os.fsencode(spool) in _read_arguments(pid) and os.getsid(pid) == pid
    return False


def _read_arguments(pid: int) -> list[bytes]:
    return processes.read_proc_file(pid, "cmdline").split(b"\0")


def is_code(pid: int) -> bool:
    """True for a process that runs a task's script."""
    return b"entrypoint.py" in processes.read_proc_file(pid, "cmdline")
