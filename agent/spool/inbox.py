"""The folder in which the gateway puts tasks: made here if both have one account, else checked."""

import os
import stat

from agent.errors import SpoolError
from agent.settings import AgentSettings
from agent.spool.os_errors import explain_os_error
from mltm.contract.spool_layout import Inbox
from mltm.runtime import files
from mltm.runtime.folder_trust import find_weakness
from mltm.runtime.locations import overlaps

__all__ = ["find_inbox_weakness", "prepare_inbox"]


def prepare_inbox(settings: AgentSettings) -> None:
    """Make the inbox in the spool, or check the gateway's. Raises SpoolError."""
    inbox = settings.inbox_folder
    try:
        if settings.inbox is None:
            _make(inbox)
        else:
            _check(inbox, settings)
        weakness = find_inbox_weakness(settings)
    except OSError as error:
        raise explain_os_error(error, inbox.root) from error
    if weakness:
        raise SpoolError(f"The inbox {inbox.root} is not safe: others could put tasks into it. {weakness}")


def find_inbox_weakness(settings: AgentSettings) -> str:
    """Who else could put tasks into the inbox, as a sentence with its mend; "" for nobody. Raises OSError."""
    inbox = settings.inbox_folder
    if settings.inbox is not None:
        return find_weakness(inbox.new, {inbox.root.stat().st_uid, os.geteuid()}, settings.trusted_groups)
    open_to_all = (folder for folder in (inbox.root, inbox.new) if folder.stat().st_mode & stat.S_IWOTH)
    return next((f"Everybody may write to {folder}. Run: chmod o-w {folder}" for folder in open_to_all), "")


def _make(inbox: Inbox) -> None:
    for folder in (inbox.root, inbox.building, inbox.new):
        files.make_folder(folder, 0o700)


def _check(inbox: Inbox, settings: AgentSettings) -> None:
    root, spool = inbox.root, settings.spool
    if not root.is_absolute():
        raise SpoolError(
            f"The path of the inbox, {root}, is not absolute.", next_step="Write the whole path, from / on."
        )
    if overlaps(root, spool):
        raise SpoolError(
            f"The inbox {root} and the spool {spool} lie in each other.",
            next_step="They belong to two accounts: use two folders, neither of which lies in the other.",
        )
    if not os.access(inbox.new, os.F_OK):
        raise SpoolError(
            f"The inbox {root} does not exist, or this account may not look into it.",
            next_step=f"The gateway's account makes it: mltm-gateway spool make {root} --group GROUP, with a group "
            "that both accounts are in. If you were added to it only now, log in again.",
        )
    if not os.access(inbox.new, os.R_OK | os.X_OK):
        raise SpoolError(
            f"This account may not read {inbox.new}.",
            next_step="It needs to be in the folder's group. If it was added only now, log in again.",
        )
