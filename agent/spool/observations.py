"""What agents keep of active tasks: what they observed, and what they told. It is advice, for the next process.

One file for each task and boot, `agent/observations/<boot>/<task>`: the clock and the counts are of one boot.
"""

import contextlib
import json
from dataclasses import asdict
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from agent.protocol.kept import Kept
from mltm.contract.ids import TaskId
from mltm.contract.spool_layout import Spool
from mltm.runtime import files
from mltm.runtime.clock import Clock

__all__ = ["forget_observation", "list_kept", "save_observation"]


@cache
def _kept_adapter() -> TypeAdapter[Kept]:
    return TypeAdapter(Kept)


def _path(spool: Spool, boot_id: str, task_id: TaskId) -> Path:
    return spool.observations / boot_id / task_id


def list_kept(spool: Spool, task_id: TaskId) -> list[Kept]:
    """What agents kept of a task, on whatever boot, the newest first. Raises OSError."""
    found: list[tuple[int, Kept]] = []
    for boot_id in files.list_names(spool.observations):
        place = _path(spool, boot_id, task_id)
        with contextlib.suppress(FileNotFoundError, ValueError):
            at_ns = place.stat().st_mtime_ns
            if (raw := files.read_bytes(place)) is not None:
                found.append((at_ns, _parse(raw)))
    return [kept for _, kept in sorted(found, key=lambda pair: pair[0], reverse=True)]


def _parse(raw: bytes) -> Kept:
    """Read a file; one of version 0.1 has all fields side by side. Raises ValueError."""
    fields = json.loads(raw)
    if not isinstance(fields, dict):
        raise ValueError("a JSON object is needed")  # noqa: TRY004 - what is read, not what is passed
    try:
        return _kept_adapter().validate_python(fields)
    except ValidationError:
        told = {
            "reported": fields.get("reported", ""), "last_report": fields.get("last_report", ""),
            "late_exits": tuple(fields.get("late_told", ())),
        }  # fmt: skip
        return _kept_adapter().validate_python({"observed": fields, "told": told})


def save_observation(spool: Spool, task_id: TaskId, kept: Kept, clock: Clock) -> None:
    """Keep what was observed and told. Raises OSError."""
    path = _path(spool, kept.observed.boot_id, task_id)
    files.make_folder(path.parent)
    files.replace(path, json.dumps(asdict(kept)).encode(), clock.nonce())


def forget_observation(spool: Spool, task_id: TaskId) -> None:
    """Remove what was kept of a task that ended, of every boot."""
    with contextlib.suppress(OSError):
        for boot_id in files.list_names(spool.observations):
            files.remove(_path(spool, boot_id, task_id))
