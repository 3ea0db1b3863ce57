"""What the tasks themselves left behind, and the verdict on it. Nothing here asks our own database what happened.

Each start of a task's code appends a line to the ledger with one write, so that lines never mix and none is lost; the
code's last act is another line, in a ledger of ends.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = [
    "Expectation", "Judgement", "Shown", "Start", "judge", "read_ends", "read_ledger", "read_starts",
    "render_script",
]  # fmt: skip

# What a state says of the code. `lost` says nothing: a job that dies around its first line is honestly lost.
NEVER_RAN = frozenset({"rejected"})
HAS_RUN = frozenset({"succeeded", "failed", "timeout", "out_of_memory"})
UNENDED = frozenset({"accepted", "submitting", "pending", "running", "paused", "finishing"})
BEFORE_START = "before it started"  # of a cancelled task: its code never ran
RERUN_NEVER_STARTED = "the rerun never started"  # its job was lost earlier, perhaps before its first line

_SCRIPT = """
import os, sys, time
job, now = os.environ.get("SLURM_JOB_ID", "-"), time.time()
def say(ledger, line):
    file = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, f"{{os.environ['MLTM_TASK_ID']}}{{line}}\\n".encode())
    os.close(file)
say({ledger!r}, f" {{os.environ['MLTM_ATTEMPT']}} {{job}} {{now}}")
{rest}
say({ended!r}, "")
"""


def render_script(ledger: Path, rest: str) -> str:
    """Render a task's script: it says that it started, does `rest`, and says that it came to its end."""
    return _SCRIPT.format(ledger=str(ledger), ended=str(_ended(ledger)), rest=rest)


def _ended(ledger: Path) -> Path:
    return ledger.with_name(f"{ledger.name}-of-ends")


@dataclass(frozen=True)
class Start:
    """One start of a task's code, as the code itself said it. at_s: seconds since 1970."""

    task_id: str
    job_id: str
    at_s: float


def read_ledger(ledger: Path) -> list[Start]:
    """Every start, in their order."""
    lines = ledger.read_text(encoding="ascii").splitlines() if ledger.exists() else []
    fields = (line.split() for line in lines)
    return [Start(task_id, job_id, float(at_s)) for task_id, _, job_id, at_s in fields]


def read_starts(ledger: Path) -> Counter[str]:
    """How often each task's code started."""
    return Counter(start.task_id for start in read_ledger(ledger))


def read_ends(ledger: Path) -> frozenset[str]:
    """The tasks whose code came to its last line."""
    path = _ended(ledger)
    return frozenset(path.read_text(encoding="ascii").split()) if path.exists() else frozenset()


@dataclass(frozen=True)
class Shown:
    """What a user is shown of a task."""

    state: str
    reason: str = ""
    job_id: str = ""

    @property
    def is_final(self) -> bool:
        """True once it has ended."""
        return self.state not in UNENDED

    @property
    def has_run(self) -> bool | None:
        """What this says of the code: it ran, it never ran; None: nothing."""
        if RERUN_NEVER_STARTED in self.reason:
            return None
        if self.state in NEVER_RAN or (self.state == "cancelled" and BEFORE_START in self.reason):
            return False
        return True if self.state in HAS_RUN else None


@dataclass(frozen=True)
class Expectation:
    """How a task may end, given what was done to it. is_code_killed: perhaps before its first line."""

    ends: frozenset[str]
    max_starts: int = 1
    is_code_killed: bool = False


@dataclass
class Judgement:
    """What is wrong, a line each: lost, started twice, wrong end. `honest`: tasks that a fault destroyed, said so."""

    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    honest: int = 0

    @property
    def is_clean(self) -> bool:
        """Nothing lost, nothing twice, no wrong end."""
        return not (self.lost or self.twice or self.wrong)


def judge(
    expected: Mapping[str, Expectation],
    shown: Mapping[str, Shown],
    starts: Mapping[str, int],
    ended: Collection[str] | None = None,
) -> Judgement:
    """Hold what users are shown against what the tasks did; all by task id. ended: whose code came to its last line."""
    found = Judgement()
    for task_id, wanted in expected.items():
        _judge_one(found, task_id, wanted, shown.get(task_id), starts.get(task_id, 0))
    for task_id in sorted({*shown, *starts} - set(expected)):
        found.wrong.append(f"{task_id}: nobody handed it in")
    if ended is not None:
        done = {task_id for task_id, row in shown.items() if row.state == "succeeded"}
        found.wrong += [f"{task_id}: succeeded, and its code never came to its end" for task_id in done - set(ended)]
    return found


def _is_untrue(shown: Shown, starts: int, wanted: Expectation) -> bool:
    """Whether it says of the code what did not happen. A process that we killed may not have come to its first line."""
    if shown.state == "failed" and wanted.is_code_killed:
        return False
    return shown.has_run is not None and shown.has_run != bool(starts)


def _judge_one(found: Judgement, task_id: str, wanted: Expectation, shown: Shown | None, starts: int) -> None:
    if shown is None or not shown.is_final:
        found.lost.append(f"{task_id}: {shown.state if shown else 'the gateway does not know it'}")
    elif _is_untrue(shown, starts, wanted):
        found.lost.append(f"{task_id}: shown as {shown.state} ({shown.reason}), and its code started {starts} times")
    elif shown.state not in wanted.ends:
        right = " or ".join(sorted(wanted.ends))
        found.wrong.append(f"{task_id}: {shown.state} ({shown.reason}), but {right} is right")
    if starts > wanted.max_starts:
        found.twice.append(f"{task_id}: its code started {starts} times")
    found.honest += shown is not None and shown.state in {"lost", "node_fail"}
