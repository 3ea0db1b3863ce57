"""Which file system a path lies on, read from mountinfo; and whether its changes can all be seen on this host."""

import re
from pathlib import Path

__all__ = ["find_file_system", "is_seen_whole", "read_file_system"]

MOUNTINFO = Path("/proc/self/mountinfo")
# Only what is known to be this host's own: anything else (NFS, Lustre, GPFS, BeeGFS, CIFS, CephFS, 9p, AFS, FUSE, and
# what nobody here has heard of) may be written by others, of which inotify(7) says nothing.
_LOCAL = frozenset(
    {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"}
)
_ESCAPED = re.compile(r"\\([0-7]{3})")


def find_file_system(path: Path, mountinfo: str) -> str:
    """The type of the file system that an absolute path without links lies on; "" where the text does not tell.

    Format: proc_pid_mountinfo(5). Of two mounts on one place the later one is seen.
    """
    found, depth = "", -1
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.partition(" ")[0]
        if len(fields) < 5 or not kind:
            continue
        place = Path(_ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4]))
        if path.is_relative_to(place) and len(place.parts) >= depth:
            found, depth = kind, len(place.parts)
    return found


def read_file_system(path: Path) -> str:
    """The type of the file system that a path lies on now; "" where it cannot be told."""
    try:
        return find_file_system(path.resolve(), MOUNTINFO.read_text(encoding="utf-8", errors="replace"))
    except (OSError, RuntimeError):  # no /proc; a loop of links
        return ""


def is_seen_whole(file_system: str) -> bool:
    """True where inotify tells of every change, because nobody but this host makes any."""
    return file_system in _LOCAL
