"""Records the gateway's cancel, hold and release in the task's control folder, before they are acknowledged.

It only records; every decision reads the records there. Repeated and late commands find their record and are harmless.
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
    """Link a cancel, hold or release into the task's log; done only when it is durable.

    Raises OSError where it could not be written: then nothing is acknowledged, and the gateway repeats it.
    """
    if command.kind not in {"cancel", "hold", "release"}:
        return Ack(outcome="refused", message=f"{command.kind} is not recorded in a task's log.")
    if not _COMMAND_ID.fullmatch(command.command_id):
        return Ack(outcome="refused", message="The command's id is not made of letters, digits and hyphens.")
    folder = spool.task(TaskId(command.task_id))
    if _has_ended(spool, folder):
        return _ENDED
    _make_control(spool, folder, clock)
    record = Command.model_validate(
        {"kind": command.kind, "command_id": command.command_id, "by": command.by, "at": clock.now()}
    )
    files.link_once(_place(folder, command), render_record(record), clock.nonce())
    return _ENDED if _has_ended(spool, folder) else Ack(outcome="done")


def _has_ended(spool: Spool, folder: TaskFolder) -> bool:
    return spool.tombstone(folder.task_id).exists()


def _make_control(spool: Spool, folder: TaskFolder, clock: Clock) -> None:
    """For a task that is not copied yet: the marker first, so that a folder is never there that nobody looks at."""
    if folder.control.is_dir():
        return
    files.make_folder(spool.active)
    files.link_once(spool.active / folder.task_id, b"", clock.nonce())
    files.make_folder(folder.control, mode=0o700)


def _place(folder: TaskFolder, command: CommandMessage) -> Path:
    """One cancel is enough for ever; of holds and releases the latest id wins (ids are uuid7, they sort by time)."""
    return folder.cancel if command.kind == "cancel" else folder.hold_order(command.kind, command.command_id)
