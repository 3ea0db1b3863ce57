"""Explains what a file system says, in words that a person can act on."""

import errno
import os
from pathlib import Path

from agent.errors import SpoolError

__all__ = ["explain_os_error"]

_EXPLANATIONS = {
    errno.ENOSPC: ("The disk is full", "Free some space. Nothing is lost, and everything is tried again."),
    errno.EDQUOT: ("The disk quota is used up", "Free some space. Nothing is lost, and everything is tried again."),
    errno.EROFS: ("The file system is read-only", "Remount it for writing, or set another spool in the config."),
    errno.EACCES: ("Access is denied", "Give the agent's user permission to read and write it."),
    errno.EPERM: (
        "The operation is not permitted",
        "The spool must belong to the agent's user, on a file system with link(2).",
    ),
    errno.ENOTDIR: ("A file is where a folder should be", "Move it away, or set another spool in the config."),
    errno.EIO: ("The file system reports an input/output error", "Ask its administrators. The agent tries again."),
    errno.ENAMETOOLONG: ("The name is too long", "Use a shorter name."),
}


def explain_os_error(error: OSError, path: Path) -> SpoolError:
    """Turn an error of the file system into a sentence with the path and a next step."""
    fallback = (os.strerror(error.errno) if error.errno else str(error), "The agent tries again. See its log.")
    what, next_step = _EXPLANATIONS.get(error.errno or 0, fallback)
    return SpoolError(f"{what}: {os.fsencode(path).decode(errors='replace')}.", next_step=next_step)
