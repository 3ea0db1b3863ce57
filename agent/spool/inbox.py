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

__all__ = ["prepare_inbox"]


def prepare_inbox(settings: AgentSettings) -> None:
    """Make the inbox in the spool, or check the gateway's. Raises SpoolError."""
    inbox = settings.inbox_folder
    try:
        if settings.inbox is None:
            _make(inbox)
        else:
            _check(inbox, settings)
    except OSError as error:
        raise explain_os_error(error, inbox.root) from error


def _make(inbox: Inbox) -> None:
    for folder in (inbox.root, inbox.building, inbox.new):
        files.make_folder(folder, 0o700)
        if folder.stat().st_mode & stat.S_IWOTH:
            raise SpoolError(
                f"Everybody may write to {folder}, so everybody could make the agent run code.",
                next_step=f"Run: chmod o-w {folder}",
            )


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
    weakness = find_weakness(inbox.new, {root.stat().st_uid, os.geteuid()}, settings.trusted_groups)
    if weakness:
        raise SpoolError(f"The inbox {root} is not safe: others could put tasks into it. {weakness}")
