"""A task's states, which follows which, and nothing else. The diagram in docs/ is rendered from this table."""

from enum import StrEnum
from types import MappingProxyType

__all__ = ["ACTIVE", "FINAL", "NEVER_RAN", "ORDER", "TRANSITIONS", "Evidence", "State", "is_allowed", "is_final"]


class State(StrEnum):
    """Where a task stands. The last ten are final."""

    ACCEPTED = "accepted"  #: the gateway has it, durably
    SUBMITTING = "submitting"  #: an agent has linked an intent
    PENDING = "pending"  #: Slurm lists it, waiting
    RUNNING = "running"  #: a job owns the attempt's claim
    FINISHING = "finishing"  #: it seems over; the truth is being looked for
    SUCCEEDED = "succeeded"  #: exit record with code 0 and no stop signal
    FAILED = "failed"  #: exit record with another code, or a signal
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    NODE_FAIL = "node_fail"
    PREEMPTED = "preempted"
    DEADLINE = "deadline"
    LOST = "lost"  #: it started, it is over, and nobody can know how it ended
    REJECTED = "rejected"  #: never ran: policy, or a permanent refusal by Slurm in its own words


class Evidence(StrEnum):
    """What a report rests on, weakest first."""

    NONE = "none"
    SLURM = "slurm"
    CLAIM = "claim"
    EXIT = "exit"
    CLOSED = "closed"
    AMENDED = "amended"


ACTIVE = (State.ACCEPTED, State.SUBMITTING, State.PENDING, State.RUNNING, State.FINISHING)
FINAL = tuple(state for state in State if state not in ACTIVE)
NEVER_RAN = frozenset({State.REJECTED})
ORDER = MappingProxyType({state: rank for rank, state in enumerate(State)})

# An active task may jump forward (a poller misses RUNNING) and may start again with another attempt, or fall back
# to what stronger evidence says; it is never `accepted` again. A final state stays, but for the two that an exit
# record which became visible late may correct, openly (protocol, rule 7).
_LATE_EXIT_MAY_CORRECT = frozenset({State.LOST, State.NODE_FAIL})
_CORRECTED = frozenset(FINAL) - {State.REJECTED}
TRANSITIONS = MappingProxyType(
    {
        **{state: frozenset(State) - {State.ACCEPTED, state} for state in ACTIVE},
        **{state: frozenset[State]() for state in FINAL},
        **{state: _CORRECTED - {state} for state in _LATE_EXIT_MAY_CORRECT},
    }
)


def is_final(state: State) -> bool:
    """True if nothing more will happen to the task."""
    return state not in ACTIVE


def is_allowed(before: State, after: State) -> bool:
    """True if a task may go from `before` to `after`. Staying is always allowed."""
    return before == after or after in TRANSITIONS[before]
