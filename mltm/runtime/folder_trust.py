"""Judges who else can change what lies in a folder, by its modes and those of each folder above. It changes nothing."""

import grp
import os
import pwd
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

__all__ = ["GroupMembers", "find_weakness", "read_group"]

_ROOT = 0


@dataclass(frozen=True)
class GroupMembers:
    """A group: its name, and the accounts that are known to be in it."""

    name: str
    members: frozenset[str]


def find_weakness(folder: Path, trusted: Collection[int], trusted_groups: Collection[str] = ()) -> str:
    """Who but root and the trusted uids can replace what lies here, as a sentence with its mend; "" for nobody.

    A folder above may be written by others if it is sticky (like /tmp): they cannot rename what is not theirs. A group
    counts as its owner if nobody else is in it. Raises OSError.
    """
    place = folder.absolute()
    for way in {place, Path(os.path.realpath(place))}:
        for above in (way, *way.parents):
            weakness = _judge(above, above.lstat(), trusted, trusted_groups, is_leaf=above == way)
            if weakness:
                return weakness
    return ""


def _judge(
    place: Path, seen: os.stat_result, trusted: Collection[int], trusted_groups: Collection[str], *, is_leaf: bool
) -> str:
    if stat.S_ISLNK(seen.st_mode):
        return ""  # who can replace it is judged by the folder that it lies in; where it leads, by the real path
    if seen.st_uid != _ROOT and seen.st_uid not in trusted:
        return f"{place} belongs to the account {_name_user(seen.st_uid)}, who can replace everything in it."
    if bool(seen.st_mode & stat.S_ISVTX) and not is_leaf:
        return ""
    if seen.st_mode & stat.S_IWOTH:
        return f"Everybody may write to {place}. Run: chmod o-w {place}"
    if seen.st_mode & stat.S_IWGRP and not _is_private(seen):
        name = read_group(seen.st_gid).name
        return "" if name in trusted_groups else f"The group {name} may write to {place}. Run: chmod g-w {place}"
    return ""


def _is_private(seen: os.stat_result) -> bool:
    """Root's own group, or the group that an account has for itself alone."""
    if seen.st_gid == _ROOT:
        return True
    group, owner = read_group(seen.st_gid), _name_user(seen.st_uid)
    return group.name == owner and group.members <= {owner}


def read_group(gid: int) -> GroupMembers:
    """Read a group. Accounts with this primary group are known only where the system lists all accounts."""
    try:
        entry = grp.getgrgid(gid)
    except KeyError:
        return GroupMembers(str(gid), frozenset())
    primary = {user.pw_name for user in pwd.getpwall() if user.pw_gid == gid}
    return GroupMembers(entry.gr_name, frozenset(entry.gr_mem) | primary)


def _name_user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
