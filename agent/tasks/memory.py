"""What the tick keeps between two runs. All of it is advice: a new process starts without and goes on the same."""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from agent.protocol.observation import Observation
from agent.slurm.values import AccountingLine, JobLine
from mltm.contract.ids import TaskId
from mltm.contract.spool_layout import Spool
from mltm.contract.task_config import TaskConfig
from mltm.runtime import files
from mltm.runtime.clock import Clock

__all__ = [
    "Memory",
    "Polls",
    "carry_told",
    "forget_observation",
    "list_observations",
    "load_observation",
    "save_observation",
]

_OF_THE_TASK = {"reported", "last_report", "late_told"}
_OF_THE_ATTEMPT = {"target", "ended", "time_limit_s", "tries"}


@dataclass
class Memory:
    """One active task between two ticks."""

    names: tuple[str, ...] = ()
    synced: tuple[object, ...] = ()  #: the deciding records that were made durable here before anything rested on them
    due_s: float = 0.0
    observation: Observation | None = None
    config: TaskConfig | None = None
    refusal: str | None = None
    may_submit: int = 0  #: the attempt whose intent this process won and for which it has not called sbatch
    is_submitted: bool = False  #: Slurm may know something about it
    needs_poll: bool = False
    is_unclaimed: bool = False
    receipted: str = ""  #: the digest of the report whose receipt this process wrote, or has none to write for

    def note(self, **fields: object) -> None:
        """Write something into the observation, where there is one."""
        if self.observation is not None:
            self.observation = self.observation.model_copy(update=fields)


@dataclass
class Polls:
    """The polls of Slurm: the last good one, and when the next is due."""

    lines: dict[str, tuple[JobLine, ...]] = field(default_factory=dict)
    ended: dict[str, tuple[AccountingLine, ...]] = field(default_factory=dict)
    last_s: float = float("-inf")  #: when the last one was asked for; a failed one, when it ended
    good_s: float = float("-inf")  #: when the last good one had answered
    last_accounting_s: float = float("-inf")
    problem: str = ""


def _path(spool: Spool, boot_id: str, task_id: TaskId) -> Path:
    return spool.observations / boot_id / task_id


def list_observations(spool: Spool, task_id: TaskId) -> list[Observation]:
    """What agents saw of a task, on whatever boot, the newest first. Raises OSError."""
    kept: list[tuple[int, Observation]] = []
    for boot_id in files.list_names(spool.observations):
        place = _path(spool, boot_id, task_id)
        with contextlib.suppress(FileNotFoundError, ValidationError):
            at_ns = place.stat().st_mtime_ns
            if (raw := files.read_bytes(place)) is not None:
                kept.append((at_ns, Observation.model_validate_json(raw)))
    return [seen for _, seen in sorted(kept, key=lambda pair: pair[0], reverse=True)]


def load_observation(spool: Spool, boot_id: str, task_id: TaskId, attempt: int, now_s: float) -> Observation:
    """Go on from what was seen last of this attempt; a new observation where there is nothing.

    Another boot's clock and counts mean nothing here; what Slurm said, and that we cancelled, stays true.
    """
    fresh = Observation(boot_id=boot_id, attempt=attempt, since_s=now_s, beat_since_s=now_s)
    try:
        kept = list_observations(spool, task_id)
    except OSError:
        return fresh
    if not kept:
        return fresh
    newest = kept[0]
    if newest.attempt != attempt:
        return carry_told(newest, fresh)
    if newest.boot_id == boot_id:
        return newest
    carried = newest.model_dump(include=_OF_THE_TASK | _OF_THE_ATTEMPT)
    scancel_at_s = None if newest.scancel_at_s is None else now_s
    return fresh.model_copy(update={**carried, "scancel_at_s": scancel_at_s})


def carry_told(before: Observation, after: Observation) -> Observation:
    """Keep what was told of the task, across its attempts."""
    return after.model_copy(update=before.model_dump(include=_OF_THE_TASK))


def save_observation(spool: Spool, task_id: TaskId, seen: Observation, clock: Clock) -> None:
    """Keep an observation. Raises OSError."""
    path = _path(spool, seen.boot_id, task_id)
    files.make_folder(path.parent)
    files.replace(path, seen.model_dump_json().encode(), clock.nonce())


def forget_observation(spool: Spool, task_id: TaskId) -> None:
    """Remove the observations of a task that ended, of every boot."""
    with contextlib.suppress(OSError):
        for boot_id in files.list_names(spool.observations):
            files.remove(_path(spool, boot_id, task_id))
