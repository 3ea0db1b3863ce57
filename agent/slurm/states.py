"""Slurm's job states of 22.05, 24.11 and 26.05 as data (job_state_codes.html; enum job_states and its flags).

A state that is not listed here is shown as it is, and ends nothing: new versions of Slurm may have new ones.
tests/field/slurm/test_reason_table.py reads the states that the installed library knows, and fails if one is missing.
"""

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from mltm.contract.states import State

__all__ = ["STATES", "Kind", "StateMeaning", "classify_state"]

Kind = Literal["pending", "running", "paused", "finishing", "ended", "unknown"]


@dataclass(frozen=True)
class StateMeaning:
    """What a state of Slurm's means. ended: the end that it names; COMPLETED, FAILED and REVOKED name none."""

    kind: Kind
    ended: State | None = None
    attention: bool = False  #: it does not pass by itself: a person should look
    said: str = field(default="", compare=False)  #: to the user


def _odd_start(said: str) -> StateMeaning:
    return StateMeaning("pending", attention=True, said=said)


_UNKNOWN = StateMeaning("unknown", attention=True, said="Slurm shows its job in a state that this agent does not know.")
_MEANINGS = MappingProxyType(
    {
        "PENDING": StateMeaning("pending", said="It waits in Slurm's queue."),
        "CONFIGURING": StateMeaning("pending", said="Its nodes are being prepared."),
        "POWER_UP_NODE": StateMeaning("pending", said="Its nodes are being powered up."),
        "REQUEUED": StateMeaning("pending", said="Slurm has put it back into the queue."),
        "REQUEUE_FED": StateMeaning("pending", said="The federation has put it back into the queue."),
        "REQUEUE_HOLD": _odd_start("Slurm has put it back into the queue, and holds it."),
        "SPECIAL_EXIT": _odd_start("Slurm has put it back into the queue after a special exit, and holds it."),
        "RESV_DEL_HOLD": _odd_start("Its reservation was deleted, and Slurm holds it."),
        # Flags that hide their base state; Slurm sets them on a job that it puts back and holds.
        "LAUNCH_FAILED": _odd_start("Slurm could not start it."),
        "RECONFIG_FAIL": _odd_start("Its nodes could not be prepared."),
        "GETENV_FAILED": _odd_start("Slurm could not read the user's environment for it."),
        "RUNNING": StateMeaning("running", said="It runs."),
        "RESIZING": StateMeaning("running", said="It runs, and its size is being changed."),
        "SIGNALING": StateMeaning("running", said="It runs, and a signal is being sent to it."),
        "STAGE_OUT": StateMeaning("running", said="Its burst buffer is being copied out."),
        "EXPEDITING": StateMeaning("running", said="Slurm looks whether it is to be started again."),
        "SUSPENDED": StateMeaning("paused", said="Slurm has suspended the job."),
        "STOPPED": StateMeaning("paused", said="Slurm has stopped the job; it keeps its nodes."),
        "COMPLETING": StateMeaning("finishing", said="It is ending."),
        "UPDATE_DB": StateMeaning("finishing", said="It is ending, and is being written into Slurm's database."),
        "COMPLETED": StateMeaning("ended", said="Its job has ended."),
        "FAILED": StateMeaning("ended", said="Its job has failed."),
        # Another cluster of the federation has it: its end is not known here.
        "REVOKED": StateMeaning("ended", said="Another cluster of the federation has it."),
        "CANCELLED": StateMeaning("ended", State.CANCELLED, said="Its job was cancelled."),
        "TIMEOUT": StateMeaning("ended", State.TIMEOUT, said="It reached its time limit."),
        "DEADLINE": StateMeaning("ended", State.DEADLINE, said="Its deadline passed."),
        "OUT_OF_MEMORY": StateMeaning("ended", State.OUT_OF_MEMORY, said="It used more memory than it may."),
        "NODE_FAIL": StateMeaning("ended", State.NODE_FAIL, said="Its node failed."),
        "BOOT_FAIL": StateMeaning("ended", State.NODE_FAIL, said="Its node could not be booted."),
        "PREEMPTED": StateMeaning("ended", State.PREEMPTED, said="Another job came first."),
        # What Slurm prints for a number that has no name.
        "?": _UNKNOWN,
    }
)
STATES = frozenset(_MEANINGS)


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
