"""Makes and judges an agent's inbox: the folder that only the gateway's account writes, and the agent's group reads."""

import errno
import grp
import os
import pwd
import stat
from pathlib import Path

from gateway.errors import InvalidError
from mltm.contract.spool_layout import Inbox
from mltm.runtime.folder_trust import find_weakness, read_group

__all__ = ["judge_inbox", "list_other_members", "make_inbox"]

_OWN_MODE, _SHARED_MODE, _BUILDING_MODE = 0o700, 0o2750, 0o2700


def make_inbox(folder: Path, group: str | None) -> Inbox:
    """Make an inbox, or bring an own one up to these modes. group: None if the agent has this account, too.

    Raises InvalidError, which says what is wrong with the folder and what to do; OSError.
    """
    if not folder.is_absolute():
        raise _refuse(f"The path {folder} is not absolute.", "Write the whole path, from / on.")
    gid = _find_group(group) if group else None
    inbox = Inbox(folder)
    weakness = find_weakness(folder.parent, {os.geteuid()})
    if weakness:
        raise _refuse(weakness, "Put the inbox into a folder of this account.")
    for place in (inbox.root, inbox.building, inbox.new):
        mode = _OWN_MODE if gid is None else _BUILDING_MODE if place == inbox.building else _SHARED_MODE
        _make(place, mode, gid)
    return inbox


def _make(place: Path, mode: int, gid: int | None) -> None:
    try:
        place.mkdir(mode=0o700)
    except FileExistsError:
        seen = place.lstat()
        if not stat.S_ISDIR(seen.st_mode):
            raise _refuse(f"{place} is not a folder.", "Move it away, or choose another path.") from None
        if seen.st_uid != os.geteuid():
            raise _refuse(
                f"{place} belongs to the uid {seen.st_uid}, not to this account.",
                "The inbox is the gateway's own folder: choose a path that does not exist yet.",
            ) from None
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if gid is not None:
            os.fchown(descriptor, -1, gid)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def _find_group(name: str) -> int:
    try:
        gid = int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise _refuse(
            f"There is no group {name!r}.", "Ask for a group with the gateway's and the agent's account."
        ) from None
    if os.geteuid() != 0 and gid not in {os.getegid(), *os.getgroups()}:
        raise _refuse(
            f"This account is not in the group {name!r}, or was not when this shell began.",
            "Add it, then log in again and restart the gateway.",
        )
    return gid


def list_other_members(gid: int) -> tuple[str, list[str]]:
    """A group's name, and who is known to be in it, apart from this account and root."""
    group = read_group(gid)
    try:
        own = {pwd.getpwuid(os.geteuid()).pw_name, "root"}
    except KeyError:
        own = {"root"}
    return group.name, sorted(group.members - own)


def judge_inbox(folder: Path) -> str:
    """What is wrong with an inbox and its mend, or "ok". It changes nothing."""
    inbox = Inbox(folder)
    try:
        seen = inbox.root.lstat()
    except OSError as error:
        if error.errno == errno.ENOENT:
            return f"The folder {folder} does not exist. Mount it, or run: mltm-gateway spool make {folder}"
        return f"The folder {folder} cannot be read: {error.strerror}."
    if seen.st_uid != os.geteuid():
        return (
            f"{folder} belongs to the uid {seen.st_uid}, not to the gateway's account, so its owner can put tasks in "
            'and take them out. Make an inbox of its own: see docs/security.md, "Move an old spool".'
        )
    weakness = find_weakness(inbox.new if inbox.new.is_dir() else inbox.root, {os.geteuid()})
    if weakness:
        return f"{weakness} Run: mltm-gateway spool make {folder}"
    name, members = list_other_members(seen.st_gid)
    if seen.st_mode & stat.S_IRGRP and len(members) > 1:
        return (
            f"The group {name} may read {folder} and has {len(members)} other members ({', '.join(members[:5])}): they "
            "can read the scripts and `env` of its tasks. Use a group with the gateway's and the agent's account only."
        )
    return "ok"


def _refuse(message: str, next_step: str) -> InvalidError:
    return InvalidError(message, key="bad_inbox", title="The inbox was not made", next_step=next_step)
