"""Slurm's job states as data (job_state_codes.html; enum job_states and its flags).

A state that is not here is shown as it is and ends nothing: the agent has to outlive new versions of Slurm.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from mltm.contract.states import State

__all__ = ["Kind", "SlurmStanding", "classify_state", "is_launch_failure", "needs_attention"]

Kind = Literal["pending", "running", "paused", "finishing", "ended", "unknown"]


@dataclass(frozen=True)
class SlurmStanding:
    """What a state of Slurm's says. `ended`: the end it names; COMPLETED, FAILED and REVOKED name none."""

    kind: Kind
    ended: State | None = None
    attention: bool = False  #: a person should look


_PENDING = SlurmStanding("pending")
_RUNNING = SlurmStanding("running")
_PAUSED = SlurmStanding("paused")
_FINISHING = SlurmStanding("finishing")
_ODD_START = SlurmStanding("pending", attention=True)
_UNKNOWN = SlurmStanding("unknown", attention=True)

_STANDINGS = MappingProxyType(
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
        "COMPLETED": SlurmStanding("ended"),
        "FAILED": SlurmStanding("ended"),
        "REVOKED": SlurmStanding("ended"),  # a federation's other cluster has it: nobody here can know the end
        "CANCELLED": SlurmStanding("ended", State.CANCELLED),
        "TIMEOUT": SlurmStanding("ended", State.TIMEOUT),
        "DEADLINE": SlurmStanding("ended", State.DEADLINE),
        "OUT_OF_MEMORY": SlurmStanding("ended", State.OUT_OF_MEMORY),
        "NODE_FAIL": SlurmStanding("ended", State.NODE_FAIL),
        "BOOT_FAIL": SlurmStanding("ended", State.NODE_FAIL),
        "PREEMPTED": SlurmStanding("ended", State.PREEMPTED),
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


def classify_state(text: str) -> SlurmStanding:
    """Read a state as squeue or sacct print it: `CANCELLED by 1000`, `OUT_OF_ME+` and lower case are understood."""
    parts = text.split()
    name = parts[0].upper() if parts else ""
    if name.endswith("+"):
        return _complete(name.rstrip("+"))
    return _STANDINGS.get(name, _UNKNOWN)


def _complete(start: str) -> SlurmStanding:
    """A state that sacct cut at its column's width; it counts only where it can be but one."""
    if start in _STANDINGS:
        return _STANDINGS[start]
    found = [standing for name, standing in _STANDINGS.items() if start and name.startswith(start)]
    return found[0] if len(found) == 1 else _UNKNOWN


def is_launch_failure(reason: str) -> bool:
    """True where a pending job's reason says that its launch failed and that Slurm put it back, held."""
    return reason.strip().lower().startswith(_LAUNCH_REASONS)


def needs_attention(reason: str) -> bool:
    """True where a pending job's reason is one that waiting alone does not cure."""
    return reason.strip().lower().startswith(_STUCK_REASONS)
