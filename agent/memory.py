"""What the tick keeps between two runs. All of it is advice: a new process starts without and goes on the same."""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from agent import files
from agent.clock import Clock
from agent.observe import Observation
from agent.slurm.values import AccountingLine, JobLine
from mltm.contract.ids import TaskId
from mltm.contract.names import Spool
from mltm.contract.task_config import TaskConfig

__all__ = ["Memory", "Polls", "forget_observation", "load_observation", "save_observation"]


@dataclass
class Memory:
    """One active task between two ticks."""

    names: tuple[str, ...] = ()
    due_s: float = 0.0
    observation: Observation | None = None
    config: TaskConfig | None = None
    refusal: str | None = None
    may_submit: int = 0  #: the attempt whose intent this process won and for which it has not called sbatch
    is_submitted: bool = False  #: Slurm may know something about it
    needs_poll: bool = False
    is_unclaimed: bool = False


@dataclass
class Polls:
    """The polls of Slurm: the last good one, and when the next is due."""

    lines: dict[str, tuple[JobLine, ...]] = field(default_factory=dict)
    ended: dict[str, tuple[AccountingLine, ...]] = field(default_factory=dict)
    last_s: float = float("-inf")  #: when the last one was asked for
    good_s: float = float("-inf")  #: when the last good one had answered
    last_accounting_s: float = float("-inf")
    problem: str = ""


def _path(spool: Spool, boot_id: str, task_id: TaskId) -> Path:
    return spool.observations / boot_id / task_id


def load_observation(spool: Spool, boot_id: str, task_id: TaskId, attempt: int, now_s: float) -> Observation:
    """Read what an earlier process of this boot saw of this attempt; a new observation where there is nothing."""
    fresh = Observation(boot_id=boot_id, attempt=attempt, since_s=now_s, beat_since_s=now_s)
    with contextlib.suppress(OSError, ValidationError):
        raw = files.read_bytes(_path(spool, boot_id, task_id))
        if raw is not None:
            kept = Observation.model_validate_json(raw)
            if kept.attempt == attempt:
                return kept
            return fresh.model_copy(update={"reported": kept.reported, "last_report": kept.last_report})
    return fresh


def save_observation(spool: Spool, task_id: TaskId, seen: Observation, clock: Clock) -> None:
    """Keep an observation. Raises OSError."""
    path = _path(spool, seen.boot_id, task_id)
    files.make_folder(path.parent)
    files.replace(path, seen.model_dump_json().encode(), clock.nonce())


def forget_observation(spool: Spool, boot_id: str, task_id: TaskId) -> None:
    """Remove the observation of a task that ended."""
    with contextlib.suppress(OSError):
        files.remove(_path(spool, boot_id, task_id))
