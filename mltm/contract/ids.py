"""Ids and the names made of them. Every name that reaches Slurm or the file system comes from here."""

import re
from typing import NewType

__all__ = [
    "AgentId",
    "JobId",
    "SpoolId",
    "TaskId",
    "build_uuid7",
    "parse_job_name",
    "parse_task_id",
    "render_job_name",
]

TaskId = NewType("TaskId", str)
"""Ours: 32 lower-case hex digits of a UUID version 7, so that ids sort by the time of their making."""
JobId = NewType("JobId", str)
"""Slurm's: digits, or digits_index for an element of an array. A list may show others; they are kept as printed."""
AgentId = NewType("AgentId", str)
SpoolId = NewType("SpoolId", str)
"""128 random bits as hex, made with the spool."""

_TASK_ID = re.compile(r"[0-9a-f]{32}")
_JOB_NAME = re.compile(r"mltm-([0-9a-f]{32})-a([0-9]{2,9})")


def build_uuid7(now_ms: int, random_bytes: bytes) -> str:
    """Build the hex of a UUID version 7 (RFC 9562, 5.7) from Unix milliseconds and ten random bytes."""
    if len(random_bytes) != 10:
        raise ValueError("ten random bytes make a UUID version 7")
    noise = int.from_bytes(random_bytes, "big")
    high, low = noise >> 68, noise & ((1 << 62) - 1)
    value = ((now_ms & ((1 << 48) - 1)) << 80) | (0x7 << 76) | ((high & 0xFFF) << 64) | (0b10 << 62) | low
    return f"{value:032x}"


def parse_task_id(text: str) -> TaskId:
    """Read a task id; hyphens and upper case are forgiven. Raises ValueError for anything else."""
    plain = text.replace("-", "").lower()
    if not _TASK_ID.fullmatch(plain):
        raise ValueError(f"{text[:80]!r} is not a task id (32 hex digits)")
    return TaskId(plain)


def render_job_name(task_id: TaskId, attempt: int) -> str:
    """Render the Slurm job name of an attempt. Lower case only: `squeue --name` ignores case."""
    return f"mltm-{task_id}-a{attempt:02d}"


def parse_job_name(name: str) -> tuple[TaskId, int] | None:
    """Read a job name of ours back into task and attempt; None for a job that is not ours."""
    found = _JOB_NAME.fullmatch(name)
    return (TaskId(found[1]), int(found[2])) if found else None
