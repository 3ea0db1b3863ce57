"""When something that others write is quiet: it was the same in three scans and over some seconds. Pure."""

from dataclasses import dataclass, replace

from agent.spool.file_stamp import Stamps

__all__ = ["QUIET_SCANS", "QuietWatch", "count_scan", "is_quiet", "is_unfinished_name"]

QUIET_SCANS = 3


@dataclass(frozen=True)
class QuietWatch:
    """One thing under watch. Seconds are of the observer's own boot clock."""

    stamps: Stamps
    since_s: float
    last_scan_s: float
    scans: int = 1


def count_scan(before: QuietWatch | None, stamps: Stamps, now_s: float, every_s: float) -> QuietWatch:
    """Count a scan. Scans closer together than `every_s` count once, and a change starts again."""
    if before is None or before.stamps != stamps or now_s < before.last_scan_s:
        return QuietWatch(stamps, now_s, now_s)
    if now_s - before.last_scan_s < every_s:
        return before
    return replace(before, scans=before.scans + 1, last_scan_s=now_s)


def is_quiet(watch: QuietWatch, now_s: float, quiet_s: float) -> bool:
    """True if it was the same in three scans and over `quiet_s` seconds."""
    return watch.scans >= QUIET_SCANS and now_s - watch.since_s >= quiet_s


def is_unfinished_name(name: str) -> bool:
    """True for what editors and copying programs make on the way: dot files (rsync, NFS), ~, .part, .tmp …."""
    lower = name.lower()
    return (
        name.startswith((".", "#"))
        or name.endswith("~")
        or lower.endswith((".part", ".filepart", ".partial", ".tmp", ".swp", ".swx", ".crdownload"))
    )
