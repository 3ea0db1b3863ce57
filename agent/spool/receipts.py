"""Receipts: what became of a dropped task, as a file beside the place where it was dropped.

control/receipt says where that is, and which script was read there. A receipt is for people; no decision reads it.
"""

import json
import os

from pydantic import ValidationError

from agent.protocol.task_report import ReportDraft
from agent.spool.file_stamp import FileStamp
from mltm.contract.base_models import Message, Timestamp
from mltm.contract.ids import TaskId
from mltm.contract.spool_layout import RECEIPT_SUFFIX, Spool
from mltm.contract.states import is_final
from mltm.runtime import files
from mltm.runtime.clock import Clock

__all__ = ["ORIGIN_FILE", "DropOrigin", "Receipt", "read_origin", "render_origin", "update_receipt"]

ORIGIN_FILE = "receipt"  #: in control/
# The receipt is first made as `.<name>.<nonce>`; a name has at most 255 bytes.
_MAX_NAME_BYTES = 180


class DropOrigin(Message):
    """control/receipt: the name that the task had in drop/, and when it was taken.

    script: of a single config, as it was in drop/ when it was copied. script_sha256: of the copy.
    """

    name: str
    taken_at: Timestamp
    script: FileStamp | None = None
    script_sha256: str | None = None


class Receipt(Message):
    """The file `<name>.receipt.json` in drop/, with the state and the message that the gateway is told."""

    task_id: str
    state: str
    final: bool
    message: str = ""
    job_id: str | None = None
    outputs: str | None = None
    script_sha256: str | None = None
    taken_at: Timestamp
    updated_at: Timestamp


def render_origin(name: str, clock: Clock, script: FileStamp | None, script_sha256: str | None) -> bytes:
    """Render control/receipt. ASCII only, so that any file name is read back as it was."""
    fields = {
        "name": name,
        "taken_at": clock.now().isoformat(),
        "script": script,
        "script_sha256": script_sha256,
    }
    return json.dumps(fields).encode()


def read_origin(spool: Spool, task_id: TaskId) -> DropOrigin | None:
    """Read control/receipt; None for a task that was not dropped. Raises OSError."""
    return _parse_origin(files.read_bytes(spool.task(task_id).control / ORIGIN_FILE))


def update_receipt(spool: Spool, task_id: TaskId, draft: ReportDraft, clock: Clock) -> bool:
    """Write a dropped task's receipt again; False for a task that was not dropped. Raises OSError."""
    folder = spool.task(task_id)
    origin = read_origin(spool, task_id)
    if origin is None:
        return False
    receipt = Receipt(
        task_id=task_id,
        state=draft.state.value,
        final=is_final(draft.state),
        message=draft.message,
        job_id=draft.job_id,
        outputs=str(folder.outputs),
        script_sha256=origin.script_sha256,
        taken_at=origin.taken_at,
        updated_at=clock.now(),
    )
    _write_receipt(spool, origin.name, receipt, clock)
    return True


def _write_receipt(spool: Spool, name: str, receipt: Receipt, clock: Clock) -> None:
    """Write a receipt, unless a later drop of the same name already has one there. Raises OSError."""
    is_short = len(os.fsencode(name)) <= _MAX_NAME_BYTES
    path = spool.drop / f"{name if is_short else receipt.task_id}{RECEIPT_SUFFIX}"
    try:
        raw = files.read_bytes(path)
        if raw is not None and Receipt.model_validate_json(raw).task_id > receipt.task_id:
            return  # ids sort by the time when they were made
    except (OSError, ValidationError):
        pass  # somebody else's file of that name, or a link: replace() replaces it, and follows no link
    files.replace(path, receipt.model_dump_json(indent=2, exclude_none=True).encode() + b"\n", clock.nonce())


def _parse_origin(raw: bytes | None) -> DropOrigin | None:
    if raw is None:
        return None
    try:
        # json.loads, because pydantic's parser refuses the half surrogates that stand for names that are not UTF-8
        fields = json.loads(raw)
        name = fields.pop("name")
        return DropOrigin.model_validate(fields | {"name": ""}).model_copy(update={"name": name})
    except (ValueError, ValidationError, KeyError, AttributeError):
        return None
