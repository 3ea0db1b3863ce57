"""When something that others write has come to rest: the same over three looks and some seconds. Pure."""

from dataclasses import dataclass, replace

__all__ = ["LOOKS", "Entry", "Print", "Watched", "is_at_rest", "is_unfinished_name", "look_at"]

LOOKS = 3
Entry = tuple[str, int, int, int]
"""(name, size, mtime, ctime) of one file, times in ns; size -1: no plain file."""
Print = tuple[Entry, ...]
"""What is compared between two looks."""


@dataclass(frozen=True)
class Watched:
    """One thing under watch. Seconds are of the observer's own boot clock."""

    seen: Print
    since_s: float
    last_look_s: float
    looks: int = 1


def look_at(before: Watched | None, seen: Print, now_s: float, every_s: float) -> Watched:
    """Count a look; looks closer together than `every_s` count once, and a change starts again."""
    if before is None or before.seen != seen or now_s < before.last_look_s:
        return Watched(seen, now_s, now_s)
    if now_s - before.last_look_s < every_s:
        return before
    return replace(before, looks=before.looks + 1, last_look_s=now_s)


def is_at_rest(watched: Watched, now_s: float, quiet_s: float) -> bool:
    """True where it was the same over three looks and `quiet_s` seconds."""
    return watched.looks >= LOOKS and now_s - watched.since_s >= quiet_s


def is_unfinished_name(name: str) -> bool:
    """True for what editors and copying programs make on the way: dot files (rsync, NFS), ~, .part, .tmp …."""
    lower = name.lower()
    return (
        name.startswith((".", "#"))
        or name.endswith("~")
        or lower.endswith((".part", ".filepart", ".partial", ".tmp", ".swp", ".swx", ".crdownload"))
    )
