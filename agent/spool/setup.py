"""Prepares a spool at the agent's start: its folders, its id, and this process's epoch.

Everything that can be wrong with the spool's folder is found here, before any task is read.
"""

import errno
import os
import re
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from agent.errors import SpoolError
from agent.settings import AgentSettings
from agent.spool.inbox import prepare_inbox
from agent.spool.os_errors import explain_os_error
from agent.spool.staging import sweep_staging
from mltm.contract.ids import SpoolId
from mltm.contract.spool_layout import Spool
from mltm.runtime import files
from mltm.runtime.clock import Clock
from mltm.runtime.folder_trust import find_weakness

__all__ = ["SpoolIdentity", "prepare_spool"]

_SPOOL_ID = re.compile(r"[0-9a-f]{32}")
# `%` and `\` are patterns in sbatch's --output (sbatch(1), FILENAME PATTERN); `:` and `,` separate the parts of a
# container's --bind. Any of the four would change which path is meant.
_BAD_CHARACTERS = "%\\:,"
_MAX_TRIES = 1000


@dataclass(frozen=True)
class SpoolIdentity:
    """A spool that can be used, its id, and the number of this start of the agent."""

    spool: Spool
    spool_id: SpoolId
    epoch: int


def prepare_spool(settings: AgentSettings, clock: Clock) -> SpoolIdentity:
    """Make and check the spool's folders, read or make its id, and take the next epoch. Raises SpoolError."""
    root = settings.spool
    _check_path(root)
    spool = Spool(root)
    for folder in (root, *spool.agent_folders):
        _prepare_folder(folder, root)
    _check_above(root, settings.trusted_groups)
    prepare_inbox(settings)
    try:
        sweep_staging(spool, clock)
        return SpoolIdentity(spool, _read_spool_id(spool, clock), _take_epoch(spool, clock))
    except OSError as error:
        raise explain_os_error(error, spool.agent) from error


def _check_path(root: Path) -> None:
    text = str(root)
    if not root.is_absolute():
        raise SpoolError(
            f"The spool's path {text!r} is not absolute.", next_step="Write the whole path, from / on, in the config."
        )
    if not text.isprintable() or any(character in _BAD_CHARACTERS for character in text):
        raise SpoolError(
            f"The spool's path {text!r} cannot be used: Slurm and containers would misread its % \\ : , or control "
            "characters.",
            next_step="Set a spool without them in the agent's config.",
        )


def _prepare_folder(folder: Path, root: Path) -> None:
    try:
        files.make_folder(folder, 0o700)
        _check_folder(folder, is_root=folder == root)
        _check_writable(folder)
    except OSError as error:
        raise explain_os_error(error, folder) from error


def _check_writable(folder: Path) -> None:
    if os.access(folder, os.W_OK | os.X_OK):
        return
    number = errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
    raise OSError(number, os.strerror(number), str(folder))


def _check_folder(folder: Path, *, is_root: bool) -> None:
    """Raise SpoolError if another user could replace what is in the folder: the agent would run that user's code."""
    # The root itself may be a link: the person who wrote the config chose it.
    seen = folder.stat() if is_root else folder.lstat()
    if not stat.S_ISDIR(seen.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    if is_root and seen.st_mode & stat.S_IWOTH:
        raise SpoolError(f"Everybody may write to the spool {folder}.", next_step=f"Run: chmod o-w {folder}")
    if seen.st_uid != os.geteuid():
        raise SpoolError(
            f"The folder {folder} belongs to another user (uid {seen.st_uid}).",
            next_step="A spool is for one user's agent. Remove the folder, or set another spool in the config.",
        )
    if not is_root and seen.st_mode & 0o022:
        raise SpoolError(f"Others may write to {folder}.", next_step=f"Run: chmod 700 {folder}")


def _check_above(root: Path, trusted_groups: Collection[str]) -> None:
    """Raise SpoolError if another user could replace the spool itself, or a folder above it.

    A sticky root that a group may write is what version 0.1 told sites to make: nobody can rename the agent's folders.
    """
    try:
        is_sticky = bool(root.stat().st_mode & stat.S_ISVTX)
        weakness = find_weakness(root.parent if is_sticky else root, {os.geteuid()}, trusted_groups)
    except OSError as error:
        raise explain_os_error(error, root) from error
    if weakness:
        raise SpoolError(
            f"The spool {root} is not safe: others could replace it, and the agent would run their code. {weakness}",
            next_step="Or set a spool below a folder of your own, such as your home. If you trust that group, name it "
            "in trusted_groups in the agent's config.",
        )


def _read_spool_id(spool: Spool, clock: Clock) -> SpoolId:
    found = files.link_once(spool.spool_id, clock.nonce().encode() + b"\n", clock.nonce(), 0o600)
    text = found.decode(errors="replace").strip()
    if not _SPOOL_ID.fullmatch(text):
        raise SpoolError(
            f"The spool's id in {spool.spool_id} is not valid.",
            next_step="Restore the file from a backup. It has 32 hex digits, by which the gateway knows this spool.",
        )
    return SpoolId(text)


def _take_epoch(spool: Spool, clock: Clock) -> int:
    """Take the next epoch. None is ever removed: an epoch that is taken twice would give two reports one identity."""
    for _ in range(_MAX_TRIES):
        nonce = clock.nonce()
        taken = [int(name) for name in files.list_names(spool.epochs) if name.isdecimal()]
        epoch = max(taken, default=0) + 1
        mine = f"{nonce}\n".encode()
        if files.link_once(spool.epochs / str(epoch), mine, nonce, 0o600) == mine:
            return epoch
    raise SpoolError(
        f"Cannot take an epoch in {spool.epochs}.", next_step="If agents are started in a loop, stop them."
    )
