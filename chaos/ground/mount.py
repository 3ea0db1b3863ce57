"""A file system that passes everything on to a folder, and lies as shared file systems do: late, or with an error.

It runs as a process of its own (python -m chaos.ground.mount), one a view. Faults come from plans (`writes`). An
error that the file system makes reaches every caller: bash's printf writes from inside libc, where nothing preloaded
can come between.
"""

import argparse
import ctypes
import math
import os
import time
from pathlib import Path
from typing import Any

import mfusepy

from chaos.ground.writes import Faults

__all__ = ["main"]

_STAT = ("st_mode", "st_ino", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks")
_TIMES = ("st_atime", "st_mtime", "st_ctime")
_Entry = tuple[str, dict[str, int], int]
_NOW, _OMIT = 0x3FFFFFFF, 0x3FFFFFFE  # utimensat(2), as libfuse hands them on


class PassThrough(mfusepy.Operations):  # type: ignore[misc] # it has no types
    """Every operation on `source`. `stale_s`: so long an old listing is served; the kernel does it for names."""

    use_ns = True

    def __init__(self, source: Path, faults: Faults, stale_s: float) -> None:
        self._source, self._faults, self._stale_s = os.fspath(source), faults, stale_s
        self._listings: dict[str, tuple[float, list[_Entry]]] = {}
        self._names: dict[int, str] = {}  # of open files, which have no path any more once they are removed

    def _full(self, path: str) -> str:
        return self._source + path

    def _change(self, *paths: str) -> None:
        """A change made through this view is seen in it at once."""
        for path in paths:
            self._listings.pop(os.path.dirname(path), None)

    def getattr(self, path: str, fh: Any = None) -> dict[str, int]:
        """Answer what stat(2) does, times in nanoseconds."""
        found = os.fstat(fh.fh) if fh is not None and fh.fh else os.lstat(self._full(path))
        return {name: getattr(found, name) for name in _STAT} | {name: getattr(found, f"{name}_ns") for name in _TIMES}

    def opendir(self, path: str) -> int:
        """Let a folder be opened that can be; nothing is kept."""
        os.close(os.open(self._full(path), os.O_RDONLY | os.O_DIRECTORY))
        return 0

    def readdir(self, path: str, fh: int) -> list[_Entry]:
        """List a folder, from an old answer if that is young enough. An entry without an inode would be hidden."""
        at_s, old = self._listings.get(path, (-math.inf, []))
        with os.scandir(self._full(path)) as found:
            entries = [(each.name, {"st_ino": each.inode()}, 0) for each in found]
        entries += [(name, {"st_ino": 1}, 0) for name in (".", "..")]
        if time.monotonic() - at_s < self._stale_s:
            if sorted(name for name, _, _ in old) != sorted(name for name, _, _ in entries):
                self._faults.note_lie(path)
            return old
        self._listings[path] = (time.monotonic(), entries)
        return entries

    def open(self, path: str, flags: Any) -> int:
        """Open what is there; O_TRUNC comes along."""
        flags.fh = os.open(self._full(path), flags.flags & ~os.O_NOFOLLOW)
        self._names[flags.fh] = path
        return 0

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        """Open with O_CREAT; O_EXCL is the kernel's below, as link and rename are: at once."""
        self._change(path)
        with self._faults.met("create", path):
            fi.fh = os.open(self._full(path), fi.flags & ~os.O_NOFOLLOW, mode)
            self._names[fi.fh] = path
        return 0

    def read(self, path: str, size: int, offset: int, fh: Any) -> bytes:
        """Read from the open file."""
        return os.pread(fh.fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: Any) -> int:
        """Write, or half of it."""
        with self._faults.met("write", self._names[fh.fh], lambda: os.pwrite(fh.fh, data[: len(data) // 2], offset)):
            return os.pwrite(fh.fh, data, offset)

    def truncate(self, path: str, length: int, fh: Any = None) -> int:
        """Cut or stretch a file."""
        is_open = fh is not None and fh.fh
        with self._faults.met("truncate", self._names[fh.fh] if is_open else path):
            os.truncate(fh.fh if is_open else self._full(path), length)
        return 0

    def fsync(self, path: str, datasync: int, fh: Any) -> int:
        """Sync an open file."""
        with self._faults.met("fsync", self._names[fh.fh]):
            os.fsync(fh.fh)
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        """Sync a folder's names; below it is memory or a disk of its own, which nobody cuts the power of."""
        with self._faults.met("fsyncdir", path):
            return 0

    def release(self, path: str, fh: Any) -> int:
        """Close."""
        self._names.pop(fh.fh, None)
        os.close(fh.fh)
        return 0

    def link(self, target: str, source: str) -> int:
        """Give `source` a second name, `target`."""
        self._change(target)
        with self._faults.met("link", target):
            os.link(self._full(source), self._full(target), follow_symlinks=False)
        return 0

    def symlink(self, target: str, source: str) -> int:
        """Make a symbolic link."""
        self._change(target)
        os.symlink(source, self._full(target))
        return 0

    def readlink(self, path: str) -> str:
        """Read a symbolic link."""
        return os.readlink(self._full(path))

    def rename(self, old: str, new: str) -> int:
        """Rename over what is there."""
        self._change(old, new)
        self._listings.pop(new, None)
        with self._faults.met("rename", new):
            os.rename(self._full(old), self._full(new))
        return 0

    def unlink(self, path: str) -> int:
        """Take a name away."""
        self._change(path)
        with self._faults.met("unlink", path):
            os.unlink(self._full(path))
        return 0

    def mkdir(self, path: str, mode: int) -> int:
        """Make a folder."""
        self._change(path)
        with self._faults.met("mkdir", path):
            os.mkdir(self._full(path), mode)
        return 0

    def rmdir(self, path: str) -> int:
        """Remove a folder."""
        self._change(path)
        self._listings.pop(path, None)
        with self._faults.met("rmdir", path):
            os.rmdir(self._full(path))
        return 0

    def chmod(self, path: str, mode: int) -> int:
        """Change a mode."""
        os.chmod(self._full(path), mode)
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        """Change an owner; -1 as ctypes gives it (unsigned) is none."""
        none = ctypes.c_uint(-1).value
        os.chown(self._full(path), -1 if uid == none else uid, -1 if gid == none else gid, follow_symlinks=False)
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        """Set times; what is to be left alone is read back."""
        full = self._full(path)
        with self._faults.met("utimens", path):
            now, old = time.time_ns(), os.lstat(full)
            atime, mtime = times or (_NOW, _NOW)
            known = ((atime, old.st_atime_ns), (mtime, old.st_mtime_ns))
            chosen = tuple({_NOW: now, _OMIT: was}.get(asked, asked) for asked, was in known)
            os.utime(full, ns=(chosen[0], chosen[1]), follow_symlinks=False)
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        """What is free below."""
        found = os.statvfs(self._full(path))
        return {name: getattr(found, name) for name in dir(found) if name.startswith("f_")}


def main() -> None:
    """Serve until unmounted or told to end."""
    parser = argparse.ArgumentParser(prog="chaos.ground.mount", description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("plans", type=Path, help="the folder of plans, and of what was met")
    parser.add_argument("--stale", type=float, default=0.0, help="seconds for which old look-ups are served")
    parser.add_argument("--counted", default="", help="which paths count; a group in it tells whose the operation is")
    parser.add_argument("--shared", default="", help="which further paths count, nobody's; a group tells the place")
    given = parser.parse_args()
    faults = Faults(given.plans, mfusepy.fuse_get_context, given.counted, given.shared)
    operations = PassThrough(given.source, faults, given.stale)
    mfusepy.FUSE(
        operations, str(given.target), raw_fi=True, foreground=True, nothreads=True, use_ino=True, hard_remove=True,
        entry_timeout=given.stale, negative_timeout=given.stale, attr_timeout=given.stale, fsname="chaos",
    )  # fmt: skip


if __name__ == "__main__":
    main()
