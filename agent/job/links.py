"""Whether somebody who can write to a folder could change where a path leads on this host. Follows links."""

import os
from collections.abc import Iterator
from pathlib import Path

from mltm.runtime.locations import resolve

__all__ = ["is_changeable", "is_replaceable", "list_lookups"]

_MAX_LINKS = 40  #: as many as Linux follows


def is_replaceable(path: Path, writable: Path) -> bool:
    """True if `path` leads somewhere else as soon as somebody replaces what is in the folder `writable` by a link."""
    folder = resolve(writable)
    return any(place != folder and place.is_relative_to(folder) for place in list_lookups(path))


def is_changeable(path: Path, writable: Path) -> bool:
    """True if this Unix user could change something of what is at `path` by way of the folder `writable`."""
    place, folder = resolve(path), resolve(writable)
    if folder.is_relative_to(place):
        return _is_ours(folder)
    return any(_is_ours(each) for each in (place, *place.parents) if each.is_relative_to(folder))


def _is_ours(path: Path) -> bool:
    try:
        return path.stat().st_uid == os.geteuid() or os.access(path, os.W_OK)
    except FileNotFoundError:  # who may write to the folder above can make it
        return _is_ours(path.parent)
    except OSError:
        return True


def list_lookups(path: Path) -> Iterator[Path]:
    """Every name that decides where an absolute path leads: its own parts, and those of the links on its way."""
    here, waiting, links = Path("/"), list(reversed(path.parts[1:])), 0
    while waiting:
        part = waiting.pop()
        if part == "..":
            here = here.parent
            continue
        yield here / part
        try:
            target = (here / part).readlink()
        except OSError:  # no link, or nothing there
            here /= part
            continue
        links += 1
        if links > _MAX_LINKS:
            return
        here = Path("/") if target.is_absolute() else here
        waiting += reversed([name for name in target.parts if not name.startswith("/")])
