"""The exit codes of `mltm`, for the program and for docs/cli.md. Each has one meaning; 1 is a task's alone."""

from types import MappingProxyType
from typing import Final

from mltm.contract.problems import Problem
from mltm.contract.states import State

__all__ = [
    "INTERRUPTED",
    "LOCAL_FILE",
    "MEANING",
    "NOT_ALL",
    "NO_READER",
    "OWN_FAULT",
    "WRONG",
    "of_problem",
    "of_state",
]

WRONG: Final = 2
LOCAL_FILE: Final = 74
NOT_ALL: Final = 66
UNREACHABLE: Final = 69
GATEWAY_FAULT: Final = 70
NOT_ALLOWED: Final = 77
OWN_FAULT: Final = 125
INTERRUPTED: Final = 130
NO_READER: Final = 141  # what a shell shows if SIGPIPE ended a program

_OF_END = MappingProxyType(
    {
        State.SUCCEEDED: 0,
        State.FAILED: 1,
        State.NODE_FAIL: 3,
        State.PREEMPTED: 3,
        State.LOST: 3,
        State.REJECTED: 4,
        State.CANCELLED: 5,
        State.TIMEOUT: 124,
        State.DEADLINE: 124,
        State.OUT_OF_MEMORY: 137,
    }
)
MEANING = MappingProxyType(
    {
        0: "done; with --wait: the task succeeded",
        1: "with --wait: failed (the script's own exit code is in `mltm status`)",
        WRONG: "wrong usage, a config or file that cannot be sent, no such task, or the gateway refused",
        3: "with --wait: node_fail, preempted or lost: because of the cluster, not of the script",
        4: "with --wait: rejected; the task never ran",
        5: "with --wait: cancelled",
        NOT_ALL: "get: some outputs could not be downloaded (they are named); all others were",
        UNREACHABLE: "the gateway, or the agent behind it, did not answer",
        GATEWAY_FAULT: "the gateway failed, or something else answered",
        LOCAL_FILE: "a local file could not be read or written",
        NOT_ALLOWED: "not logged in, or not allowed",
        124: "with --wait: timeout or deadline",
        OWN_FAULT: "a fault of mltm itself; please report it",
        INTERRUPTED: "Ctrl-C: the command ended, the task goes on",
        137: "with --wait: out_of_memory",
        NO_READER: "the reader of the output stopped reading, as `head` does",
    }
)


def of_state(state: State) -> int:
    """The code of a task's end. 0 if it has not ended."""
    return _OF_END.get(state, 0)


def of_problem(problem: Problem) -> int:
    """The code of an error."""
    match problem.status:
        case 401 | 403:
            return NOT_ALLOWED
        case 0 | 429 | 502 | 503 | 504:
            return UNREACHABLE
        case status if status >= 500:
            return GATEWAY_FAULT
        case _:
            return WRONG
