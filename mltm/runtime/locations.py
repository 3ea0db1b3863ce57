"""Where paths lead on this host, and which of them lie in each other. Follows links, and circles of links too."""

import os
from pathlib import Path

__all__ = ["contains", "overlaps", "resolve"]


def contains(folder: Path, path: Path) -> bool:
    """True if `path` leads to `folder` or to something below it."""
    return resolve(path).is_relative_to(resolve(folder))


def overlaps(one: Path, other: Path) -> bool:
    """True if one of the two contains the other."""
    first, second = resolve(one), resolve(other)
    return first.is_relative_to(second) or second.is_relative_to(first)


def resolve(path: Path) -> Path:
    """Where a path leads now; what is not there yet counts as no link."""
    return Path(os.path.realpath(path))  # pathlib's raises for a loop of links, before Python 3.13
