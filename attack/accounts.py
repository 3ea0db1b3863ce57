"""Accounts of their own for the parties: uids without a name that nothing on this machine has, and their processes."""

import grp
import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Account", "give", "make_accounts", "start_as"]

_FIRST, _LAST = 61_200, 64_900  #: above what login.defs gives to people, below what systemd gives to services


@dataclass(frozen=True)
class Account:
    """A uid, the group of the same number, and the numbers of further groups."""

    name: str
    uid: int
    groups: tuple[int, ...] = ()


def make_accounts(*names: str, shared: Sequence[Sequence[str]] = ()) -> dict[str, Account]:
    """Make accounts up. Those in each of `shared` are together in one group more, as an inbox needs it."""
    used = {user.pw_uid for user in pwd.getpwall()} | {group.gr_gid for group in grp.getgrall()} | _find_running()
    free = iter(number for number in range(_FIRST + os.getpid() % 500 * 5, _LAST) if number not in used)
    groups = [(members, next(free)) for members in shared]
    return {name: Account(name, next(free), tuple(gid for members, gid in groups if name in members)) for name in names}


def _find_running() -> set[int]:
    found = set()
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                found.add(path.stat().st_uid)
            except FileNotFoundError:
                continue
    return found


def start_as(
    account: Account, argv: Sequence[str], *, env: Mapping[str, str], log: Path, folder: Path, umask: int = 0o022
) -> subprocess.Popen[bytes]:
    """Start a program as an account, in a session of its own, with its output at the end of `log`. Needs root."""
    with log.open("ab") as output:
        return subprocess.Popen(
            list(argv), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder, env=dict(env), umask=umask,
            user=account.uid, group=account.uid, extra_groups=list(account.groups), start_new_session=True,
        )  # fmt: skip


def give(path: Path, account: Account, mode: int, *, group: int | None = None) -> Path:
    """Give a file or folder to an account, with exactly this mode. Returns it."""
    os.chown(path, account.uid, account.uid if group is None else group, follow_symlinks=False)
    path.chmod(mode)
    return path
