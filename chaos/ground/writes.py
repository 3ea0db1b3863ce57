"""Which write of a file system fails, and how: the n-th operation for one task, or the n-th of all since the last one.

A plan is a file in a folder of plans, named in the order in which they are used: `<n> <outcome>`. Each task that
appears takes the next one, so that one stream of tasks walks through all. Operations on what is no task's own (a
report, an epoch) are counted by place and kind (`outbox/link`), and that is the folder of their plans, too. Every
counted operation stands in a trace.
"""

import contextlib
import errno
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

__all__ = [
    "OUTCOMES",
    "Faults",
    "Met",
    "Outcome",
    "WritePlan",
    "count_lies",
    "mark_trace",
    "read_met",
    "set_write_plans",
    "take_plans_back",
]

Outcome = Literal["error-before", "error-after", "full", "torn", "kill-before", "kill-after", "kill-torn"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
_UNCOUNTED = re.compile(
    r"/beat\.|/work/|/outputs/|/checkpoint/|/logs/.*/out\.|-shm$"
)  # their number is chance, or the user's
_TRACE, _LIES = "trace", "lies"


@dataclass(frozen=True)
class WritePlan:
    """The n-th operation of the next task, or the n-th of all since the last fault."""

    number: int
    outcome: Outcome


@dataclass(frozen=True)
class Met:
    """One counted operation: whose (a task's id, `all`, or place and kind), which, and its outcome (`-`: as meant)."""

    key: str
    number: int
    operation: str
    outcome: Outcome | Literal["-"]
    path: str


def set_write_plans(folder: Path, plans: Sequence[WritePlan]) -> None:
    """Put plans in place behind those that wait."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = max((int(path.stem) for path in folder.glob("[0-9]*.*")), default=-1) + 1
    for number, plan in enumerate(plans, taken):
        building = folder / f".{number:06d}"
        building.write_text(f"{plan.number} {plan.outcome}\n", encoding="ascii")
        building.rename(folder / f"{number:06d}.plan")


def take_plans_back(folders: Iterable[Path]) -> None:
    """Take away the plans that wait."""
    for folder in folders:
        for path in folder.glob("*.plan"):
            path.unlink(missing_ok=True)


def read_met(folder: Path, since: int = 0) -> list[Met]:
    """Read the trace: every counted operation so far, in order. `since`: a mark, to leave out what was before it."""
    try:
        with (folder / _TRACE).open("rb") as trace:
            trace.seek(since)
            lines = trace.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [_parse(line) for line in lines if line.count(" ") >= 4]


def mark_trace(folder: Path) -> int:
    """Where the trace ends now."""
    trace = folder / _TRACE
    return trace.stat().st_size if trace.exists() else 0


def count_lies(folder: Path) -> int:
    """How often a listing was served that was not true any more."""
    lies = folder / _LIES
    return lies.read_bytes().count(b"\n") if lies.exists() else 0


def _parse(line: str) -> Met:
    key, number, operation, outcome, path = line.split(" ", 4)
    return Met(key, int(number), operation, next((each for each in OUTCOMES if each == outcome), "-"), path)


class Faults:
    """Counts the operations on paths that match `counted` (its group tells whose), and carries out the plans.

    `shared`: which paths count that are nobody's; its group tells the place. Empty: none.
    """

    def __init__(
        self, folder: Path, read_context: Callable[[], tuple[int, int, int]], counted: str, shared: str = ""
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._read_context, self._counted = folder, read_context, re.compile(counted)
        self._shared = re.compile(shared) if shared else None
        self._trace = (folder / _TRACE).open("a", encoding="utf-8", errors="replace", buffering=1)
        self._counts: Counter[str] = Counter()
        self._plans: dict[str, WritePlan | None] = {}

    @contextlib.contextmanager
    def met(self, operation: str, path: str, half: Callable[[], object] = lambda: None) -> Iterator[None]:
        """Go through one operation; `half` does it by half. Raises OSError if a plan says so."""
        outcome = self._count(operation, path)
        caller = self._read_context()[2]
        if outcome in {"torn", "kill-torn"}:
            half()
        if outcome in {"kill-before", "kill-torn"}:
            _kill(caller)
        if outcome == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if outcome in {"error-before", "torn"}:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if outcome in {"kill-before", "kill-torn"}:
            raise OSError(errno.EINTR, "its caller is dead")
        yield
        if outcome == "kill-after":
            _kill(caller)
        if outcome == "error-after":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def _count(self, operation: str, path: str) -> str:
        """Count it if it counts, and return the outcome that is planned for it."""
        key = self._find_key(operation, path)
        if key is None:
            return "-"
        folder, is_a_tasks = (self._folder / key, False) if "/" in key else (self._folder, key != "all")
        if key not in self._plans or (not is_a_tasks and self._plans[key] is None):
            self._plans[key] = plan = _take(folder)
            self._counts[key] = 0 if plan is not None else self._counts[key]
        self._counts[key] += 1
        number, plan = self._counts[key], self._plans[key]
        outcome = plan.outcome if plan is not None and plan.number == number else "-"
        self._trace.write(f"{key} {number} {operation} {outcome} {path}\n")
        if outcome != "-" and not is_a_tasks:
            self._counts[key], self._plans[key] = 0, None
        return outcome

    def _find_key(self, operation: str, path: str) -> str | None:
        """Whose it is: a task's id, `all`, or `place/operation`, where a private name (a dot file) is told apart."""
        if _UNCOUNTED.search(path):
            return None
        if (found := self._counted.search(path)) is not None:
            return found[1] if found.groups() else "all"
        if self._shared is None or (found := self._shared.search(path)) is None:
            return None
        return f"{found[1]}/{operation}{'-private' if Path(path).name.startswith('.') else ''}"

    def note_lie(self, path: str) -> None:
        """Keep in mind that an old listing was served which was not true any more."""
        with (self._folder / _LIES).open("a", encoding="utf-8", errors="replace") as lies:
            lies.write(f"{path}\n")


def _take(folder: Path) -> WritePlan | None:
    for path in sorted(folder.glob("*.plan")):
        with contextlib.suppress(FileNotFoundError):  # taken back
            path.rename(taken := path.with_suffix(".taken"))
            number, outcome = taken.read_text(encoding="ascii").split()
            return WritePlan(int(number), next(each for each in OUTCOMES if each == outcome))
    return None


def _kill(caller: int) -> None:
    """Kill the caller; the kernel names its thread."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(caller, signal.SIGKILL)
