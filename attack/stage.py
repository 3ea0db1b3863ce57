"""Lets other accounts reach Python and the project, where they lie below a folder that only root may enter.

The process gets mounts of its own: a closed folder is covered by an empty one that holds only what is needed. Nothing
changes for anybody else, and everything is gone with the process.
"""

import ctypes
import os
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["CHECKOUT", "enter_stage", "run_outside"]

CHECKOUT = Path(__file__).resolve().parents[1]
_NEW_MOUNTS = 0x20000  # CLONE_NEWNS
_BIND_ALL, _PRIVATE = 0x1000 | 0x4000, 0x4000 | 0x40000  # MS_BIND | MS_REC; MS_REC | MS_PRIVATE
_LIBC = ctypes.CDLL(None, use_errno=True)
_outside: list[int] = []  # a descriptor of the mounts that this process had before


def enter_stage() -> None:
    """Call it once, before any thread. Raises OSError where mounts are not allowed (a container without them)."""
    needed = sorted({Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), CHECKOUT})
    closed = sorted({top for path in needed if (top := _find_closed(path)) is not None})
    if not closed:
        return
    _outside.append(os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC))
    _check(_LIBC.unshare(_NEW_MOUNTS), "unshare")
    _mount(b"none", b"/", b"", _PRIVATE)
    for top in closed:
        _cover(top, [path for path in needed if path.is_relative_to(top)])


def run_outside(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command in the checkout with the mounts that root has: it sees what is covered here."""
    enter = ["nsenter", f"--mount=/proc/{os.getpid()}/fd/{_outside[0]}", "--"] if _outside else []
    command = [*enter, "env", "-C", str(CHECKOUT), *argv]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def _find_closed(path: Path) -> Path | None:
    """The topmost folder on the way that others may not enter."""
    for folder in reversed([path, *path.parents]):
        if not folder.stat().st_mode & stat.S_IXOTH:
            return folder
    return None


def _cover(top: Path, kept: Sequence[Path]) -> None:
    opened = [(path, os.open(path, os.O_PATH | os.O_DIRECTORY)) for path in kept]
    _mount(b"attack", os.fsencode(top), b"tmpfs", 0)
    top.chmod(0o755)
    for path, descriptor in opened:
        path.mkdir(parents=True, exist_ok=True)
        _mount(f"/proc/self/fd/{descriptor}".encode(), os.fsencode(path), b"", _BIND_ALL)
        os.close(descriptor)


def _mount(source: bytes, target: bytes, kind: bytes, flags: int) -> None:
    _check(_LIBC.mount(source, target, kind, ctypes.c_ulong(flags), None), f"mount on {os.fsdecode(target)}")


def _check(code: int, what: str) -> None:
    if code != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
