"""How long nobody worked while an agent that runs as a job was handed over: read from what the jobs printed. Pure."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

__all__ = ["WALLTIME_WORDS", "Life", "find_gaps", "read_life"]

#: What run_api.srm prints when it was warned, and Slurm when the limit was reached.
WALLTIME_WORDS = ("the time limit is near", "DUE TO TIME LIMIT")


@dataclass(frozen=True)
class Life:
    """One agent in one job. Times in seconds since 1970; None if it never came to that."""

    job_id: str
    started_s: float | None  #: it says that it has started: the spool is its own, and its first round begins
    last_s: float | None  #: the last line that it logged, so that the gap is never measured too short
    is_walltime: bool  #: the job's time limit ended it


def read_life(job_id: str, printed: str) -> Life:
    """Read a job's output, in which the agent's log is lines of JSON among others."""
    logged = [fields for line in printed.splitlines() if (fields := _parse(line)) is not None]
    times = [datetime.fromisoformat(fields["timestamp"]).timestamp() for fields in logged]
    starts = [at_s for at_s, fields in zip(times, logged, strict=True) if fields.get("event") == "agent_started"]
    is_walltime = any(word in printed for word in WALLTIME_WORDS)
    return Life(job_id, starts[0] if starts else None, times[-1] if times else None, is_walltime)


def find_gaps(lives: Sequence[Life]) -> tuple[list[float], list[str]]:
    """The gaps in seconds between lives that follow each other, and what was no handover at the time limit."""
    gaps, wrong = [], []
    for old, new in itertools.pairwise(lives):
        if not old.is_walltime:
            wrong.append(f"job {old.job_id} was handed over, and not by its time limit")
        elif old.last_s is None or new.started_s is None:
            wrong.append(f"from job {old.job_id} to job {new.job_id}: an agent never started")
        else:
            gaps.append(new.started_s - old.last_s)
    return gaps, wrong


def _parse(line: str) -> dict[str, str] | None:
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) and "timestamp" in fields else None
