"""Slurm's job states as data (job_state_codes.html; enum job_states and its flags).

A state that is not listed here is shown as it is, and ends nothing: new versions of Slurm may have new ones.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from mltm.contract.states import State

__all__ = ["Kind", "StateMeaning", "classify_state", "is_launch_failure", "needs_attention"]

Kind = Literal["pending", "running", "paused", "finishing", "ended", "unknown"]


@dataclass(frozen=True)
class StateMeaning:
    """What a state of Slurm's means. ended: the end that it names; COMPLETED, FAILED and REVOKED name none."""

    kind: Kind
    ended: State | None = None
    attention: bool = False  #: a person should look


_PENDING = StateMeaning("pending")
_RUNNING = StateMeaning("running")
_PAUSED = StateMeaning("paused")
_FINISHING = StateMeaning("finishing")
_ODD_START = StateMeaning("pending", attention=True)
_UNKNOWN = StateMeaning("unknown", attention=True)

_MEANINGS = MappingProxyType(
    {
        "PENDING": _PENDING,
        "CONFIGURING": _PENDING,
        "POWER_UP_NODE": _PENDING,
        "REQUEUED": _PENDING,
        "REQUEUE_FED": _PENDING,
        "REQUEUE_HOLD": _ODD_START,
        "SPECIAL_EXIT": _ODD_START,
        "RESV_DEL_HOLD": _ODD_START,
        # Flags that hide their base state; Slurm sets them on a job that it puts back and holds.
        "LAUNCH_FAILED": _ODD_START,
        "RECONFIG_FAIL": _ODD_START,
        "GETENV_FAILED": _ODD_START,
        "RUNNING": _RUNNING,
        "RESIZING": _RUNNING,
        "SIGNALING": _RUNNING,
        "STAGE_OUT": _RUNNING,
        "EXPEDITING": _RUNNING,
        "SUSPENDED": _PAUSED,
        "STOPPED": _PAUSED,
        "COMPLETING": _FINISHING,
        "UPDATE_DB": _FINISHING,
        "COMPLETED": StateMeaning("ended"),
        "FAILED": StateMeaning("ended"),
        "REVOKED": StateMeaning("ended"),  # another cluster of the federation has it: its end is not known here
        "CANCELLED": StateMeaning("ended", State.CANCELLED),
        "TIMEOUT": StateMeaning("ended", State.TIMEOUT),
        "DEADLINE": StateMeaning("ended", State.DEADLINE),
        "OUT_OF_MEMORY": StateMeaning("ended", State.OUT_OF_MEMORY),
        "NODE_FAIL": StateMeaning("ended", State.NODE_FAIL),
        "BOOT_FAIL": StateMeaning("ended", State.NODE_FAIL),
        "PREEMPTED": StateMeaning("ended", State.PREEMPTED),
    }
)

_LAUNCH_REASONS = ("launch failed requeued held", "launch_failed_requeued_held")
_STUCK_REASONS = (
    *_LAUNCH_REASONS,
    "jobhelduser",
    "jobheldadmin",
    "badconstraints",
    "dependencyneversatisfied",
    "job_requeued_in_held_state",
    "job requeued in held state",
)


def classify_state(text: str) -> StateMeaning:
    """Classify a state as squeue or sacct print it, also `CANCELLED by 1000`, `OUT_OF_ME+` and lower case."""
    parts = text.split()
    name = parts[0].upper() if parts else ""
    if name.endswith("+"):
        return _complete(name.rstrip("+"))
    return _MEANINGS.get(name, _UNKNOWN)


def _complete(start: str) -> StateMeaning:
    """Complete a state that sacct cut at its column's width. It counts only if it can be only one state."""
    if start in _MEANINGS:
        return _MEANINGS[start]
    found = [meaning for name, meaning in _MEANINGS.items() if start and name.startswith(start)]
    return found[0] if len(found) == 1 else _UNKNOWN


def is_launch_failure(reason: str) -> bool:
    """True if a pending job's reason says that its launch failed, and that Slurm requeued and holds it."""
    return reason.strip().lower().startswith(_LAUNCH_REASONS)


def needs_attention(reason: str) -> bool:
    """True if waiting alone does not solve a pending job's reason."""
    return reason.strip().lower().startswith(_STUCK_REASONS)
