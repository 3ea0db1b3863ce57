"""What a real Slurm says in its own logs of what it did: accepted, cancelled for somebody, cut off. Format of 22.05.

Job ids come again after a crash of slurmctld, so every fact here has its time (seconds since 1970).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from lab.slurm.layout import NODES, Lab

__all__ = ["LogLine", "leave_out_given_up", "read_controller_log", "read_cut_off", "read_given_up"]

_STAMP = r"\[(?P<at>[-0-9]+T[:.0-9]+)\] "
_CONTROLLER = {
    "accepted": re.compile(_STAMP + r"_slurm_rpc_submit_batch_job: JobId=(?P<job>\d+) "),
    "cancelled": re.compile(_STAMP + r"_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=(?P<job>\d+) "),
    "started": re.compile(_STAMP + r".*(?:Allocate|_start_job: Started) JobId=(?P<job>\d+) "),
}
# slurmstepd's last words for a job that is ended from outside: by a cancel, or as one that has no business there.
_CUT_OFF = re.compile(_STAMP + r"\[(?P<job>\d+)\.batch\] (?:error: \*\*\* JOB \d+ ON |job \d+ abort completed)")
# slurmd asks for this by itself, where slurmctld wants a job started that it has.
_GIVEN_UP = re.compile(_STAMP + r"Could not launch job (?P<job>\d+) and not able to requeue it, cancelling job")
_SOON_S = 10.0


@dataclass(frozen=True)
class LogLine:
    """One thing that Slurm did to a job."""

    what: Literal["accepted", "cancelled", "started", "cut off", "given up"]
    job_id: str
    at_s: float


def read_controller_log(lab: Lab) -> list[LogLine]:
    """What slurmctld accepted, started, and cancelled because somebody other than a slurmd asked, in its order."""
    lines = [line for text in _read(lab, "slurmctld") for line in _parse(text, _CONTROLLER.items())]
    return leave_out_given_up(lines, read_given_up(lab))


def leave_out_given_up(lines: Sequence[LogLine], given_up: Sequence[LogLine]) -> list[LogLine]:
    """Leave out the cancels that a slurmd asked for: one for each job that it says it gave up."""
    left, kept = list(given_up), []
    for line in lines:
        asked = [each for each in left if each.job_id == line.job_id and abs(each.at_s - line.at_s) <= _SOON_S]
        if line.what == "cancelled" and asked:
            left.remove(asked[0])
        else:
            kept.append(line)
    return kept


def read_cut_off(lab: Lab) -> list[LogLine]:
    """The jobs that Slurm ended while they ran, for whatever reason, on all nodes."""
    return _read_slurmds(lab, "cut off", _CUT_OFF)


def read_given_up(lab: Lab) -> list[LogLine]:
    """The jobs that a slurmd itself had slurmctld cancel, as it has one under their id that runs or just ran."""
    return _read_slurmds(lab, "given up", _GIVEN_UP)


def _read_slurmds(lab: Lab, what: str, pattern: re.Pattern[str]) -> list[LogLine]:
    texts = (text for node in NODES for text in _read(lab, f"slurmd-{node}"))
    return [line for text in texts for line in _parse(text, [(what, pattern)])]


def _read(lab: Lab, daemon: str) -> Iterator[str]:
    with lab.log_of(daemon).open(encoding="utf-8", errors="replace") as log:
        yield from log


def _parse(text: str, patterns: Iterable[tuple[str, re.Pattern[str]]]) -> Iterator[LogLine]:
    for what, pattern in patterns:
        if found := pattern.match(text):
            at_s = datetime.fromisoformat(found["at"]).timestamp()  # Slurm writes local time
            yield LogLine(what, found["job"], at_s)  # type: ignore[arg-type] # a key of the table above
