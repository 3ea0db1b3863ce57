"""Receipts: what became of a dropped task, as a file beside the place where it was dropped.

control/receipt says where that is, and which script was read there. A receipt is for people and decides nothing.
"""

import json
import os

from pydantic import ValidationError

from agent.intake.quiet_time import Entry
from agent.protocol.task_report import ReportDraft
from mltm.contract.base_models import Message, Timestamp
from mltm.contract.ids import TaskId
from mltm.contract.spool_layout import RECEIPT_SUFFIX, Spool
from mltm.contract.states import is_final
from mltm.runtime import files
from mltm.runtime.clock import Clock

__all__ = ["PLACE_FILE", "Receipt", "ReceiptPlace", "read_place", "render_place", "update_receipt"]

PLACE_FILE = "receipt"  #: in control/
# The receipt is first made as `.<name>.<nonce>`; a name has at most 255 bytes.
_MAX_NAME_BYTES = 180


class ReceiptPlace(Message):
    """control/receipt: the name in drop/ that the task came under, and when it was taken.

    script: of a single config, as it was in drop/ when it was copied; script_sha256: of the copy.
    """

    name: str
    taken_at: Timestamp
    script: Entry | None = None
    script_sha256: str | None = None


class Receipt(Message):
    """The file `<name>.receipt.json` in drop/, with the state and the words that the gateway is told."""

    task_id: str
    state: str
    final: bool
    message: str = ""
    job_id: str | None = None
    outputs: str | None = None
    script_sha256: str | None = None
    taken_at: Timestamp
    updated_at: Timestamp


def render_place(name: str, clock: Clock, script: Entry | None, script_sha256: str | None) -> bytes:
    """Render control/receipt. ASCII only, so that any file name comes back as it was."""
    fields = {
        "name": name,
        "taken_at": clock.now().isoformat(),
        "script": script,
        "script_sha256": script_sha256,
    }
    return json.dumps(fields).encode()


def read_place(spool: Spool, task_id: TaskId) -> ReceiptPlace | None:
    """Read control/receipt; None for a task that was not dropped. Raises OSError."""
    return _parse_place(files.read_bytes(spool.task(task_id).control / PLACE_FILE))


def update_receipt(spool: Spool, task_id: TaskId, draft: ReportDraft, clock: Clock) -> bool:
    """Write a dropped task's receipt anew; False for a task that was not dropped. Raises OSError."""
    folder = spool.task(task_id)
    place = read_place(spool, task_id)
    if place is None:
        return False
    receipt = Receipt(
        task_id=task_id,
        state=draft.state.value,
        final=is_final(draft.state),
        message=draft.message,
        job_id=draft.job_id,
        outputs=str(folder.outputs),
        script_sha256=place.script_sha256,
        taken_at=place.taken_at,
        updated_at=clock.now(),
    )
    _write_receipt(spool, place.name, receipt, clock)
    return True


def _write_receipt(spool: Spool, name: str, receipt: Receipt, clock: Clock) -> None:
    """Write a receipt, unless a later drop of the same name has its own there. Raises OSError."""
    is_short = len(os.fsencode(name)) <= _MAX_NAME_BYTES
    path = spool.drop / f"{name if is_short else receipt.task_id}{RECEIPT_SUFFIX}"
    try:
        raw = files.read_bytes(path)
        if raw is not None and Receipt.model_validate_json(raw).task_id > receipt.task_id:
            return  # ids sort by the time of their making
    except (OSError, ValidationError):
        pass  # somebody else's file of that name, or a link: replace() takes its place and follows nothing
    files.replace(path, receipt.model_dump_json(indent=2, exclude_none=True).encode() + b"\n", clock.nonce())


def _parse_place(raw: bytes | None) -> ReceiptPlace | None:
    if raw is None:
        return None
    try:
        # json.loads, because pydantic's parser refuses the half surrogates that stand for names that are not UTF-8
        fields = json.loads(raw)
        name = fields.pop("name")
        return ReceiptPlace.model_validate(fields | {"name": ""}).model_copy(update={"name": name})
    except (ValueError, ValidationError, KeyError, AttributeError):
        return None
