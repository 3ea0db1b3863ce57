"""Records the gateway's cancel, hold and release in the task's control folder, before they are acknowledged.

It only records; every decision reads the records. A repeated or late command finds its record, and is harmless.
"""

import re
from pathlib import Path

from mltm.contract.agent_api import Ack, CommandMessage
from mltm.contract.ids import TaskId
from mltm.contract.journal_records import Command, render_record
from mltm.contract.spool_layout import Spool, TaskFolder
from mltm.runtime import files
from mltm.runtime.clock import Clock

__all__ = ["record_command"]

_COMMAND_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,63}")
_ENDED = Ack(outcome="refused", message="The task has already ended.")


def record_command(spool: Spool, command: CommandMessage, clock: Clock) -> Ack:
    """Link a cancel, hold or release into the task's journal. The answer is `done` only once it is durable.

    Raises OSError if it cannot be written: then nothing is acknowledged, and the gateway repeats the command.
    """
    if command.kind not in {"cancel", "hold", "release"}:
        return Ack(outcome="refused", message=f"The command {command.kind} is not recorded in a task's journal.")
    if not _COMMAND_ID.fullmatch(command.command_id):
        return Ack(outcome="refused", message="The command's id may have only letters, digits and hyphens.")
    folder = spool.task(TaskId(command.task_id))
    if _has_ended(spool, folder):
        return _ENDED
    _make_control(spool, folder, clock)
    record = Command.model_validate(
        {"kind": command.kind, "command_id": command.command_id, "by": command.by, "at": clock.now()}
    )
    files.link_once(_choose_path(folder, command), render_record(record), clock.nonce())
    return _ENDED if _has_ended(spool, folder) else Ack(outcome="done")


def _has_ended(spool: Spool, folder: TaskFolder) -> bool:
    return spool.tombstone(folder.task_id).exists()


def _make_control(spool: Spool, folder: TaskFolder, clock: Clock) -> None:
    """Make the folder of a task that is not copied yet. The marker comes first, so that every folder is read."""
    if folder.control.is_dir():
        return
    files.make_folder(spool.active)
    files.link_once(spool.active / folder.task_id, b"", clock.nonce())
    files.make_folder(folder.control, mode=0o700)


def _choose_path(folder: TaskFolder, command: CommandMessage) -> Path:
    """One cancel is enough. Of holds and releases the latest id counts (ids are uuid7, which sort by time)."""
    return folder.cancel if command.kind == "cancel" else folder.hold_order(command.kind, command.command_id)
