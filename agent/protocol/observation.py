"""What an agent saw over time of one attempt: polls, the beat, back-off. Pure: each reading makes a new Observation.

Times are seconds of the observer's own boot clock; an observation of another boot counts for nothing but what
Slurm itself said. No value here decides that code never started: only a fence does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent.protocol.journal import AttemptJournal
from agent.settings import Waits
from agent.slurm.states import classify_state
from agent.slurm.values import AccountingLine, JobLine

__all__ = [
    "Observation", "Reading", "apply_accounting", "carry_over", "date_fence", "is_over", "is_slurm_over",
    "match_lines", "update_observation",
]  # fmt: skip


@dataclass(frozen=True)
class Observation:
    """Kept as advice in the spool, so that a restarted agent goes on counting."""

    boot_id: str
    attempt: int
    since_s: float  #: when this attempt was first looked at
    target: str = ""  #: the owner's job id, once there is one: counts of another target do not carry over
    absent_polls: int = 0
    absent_since_s: float | None = None
    ended: str | None = None  #: Slurm's terminal state, as it said it
    paused: bool = False
    time_limit_s: float | None = None
    beat_ns: int | None = None
    beat_since_s: float = 0.0
    over_since_s: float | None = None
    running_since_s: float | None = None  #: the first good poll that showed it running, and no claim was there
    running_seen_s: float | None = None  #: the last one; a failed poll moves neither
    fenced_since_s: float | None = None  #: when it was first seen that nothing of the attempt will start
    retry_at_s: float | None = None
    tries: int = 0
    scancel_at_s: float | None = None


@dataclass(frozen=True)
class Reading:
    """One look at an attempt. lines: what a good poll lists under the attempt's name; None: there was no good poll."""

    lines: tuple[JobLine, ...] | None
    beat_ns: int | None
    now_s: float


def match_lines(attempt: AttemptJournal, lines: Sequence[JobLine]) -> tuple[JobLine, ...]:
    """The lines that speak of this attempt: the owner's own, if there is an owner. All have our name already."""
    owner = attempt.owner
    return tuple(line for line in lines if owner is None or line.job_id == owner.job_id)


def _of_this_run(attempt: AttemptJournal, lines: Sequence[JobLine]) -> tuple[JobLine, ...]:
    """Without a job that Slurm has put back (scontrol requeue): it names no end of the run that left its record."""
    matching = match_lines(attempt, lines)
    if attempt.own_exit is None:
        return matching
    return tuple(line for line in matching if classify_state(line.state).kind != "pending")


def update_observation(
    before: Observation, attempt: AttemptJournal, reading: Reading, waits: Waits, min_job_age_s: float
) -> Observation:
    """Add one reading to an observation."""
    target, now_s = attempt.owner.job_id if attempt.owner else "", reading.now_s
    after = before if before.target == target else _retarget(before, target, now_s)
    if reading.lines is not None:
        after = _count_poll(after, attempt, _of_this_run(attempt, reading.lines), now_s)
    if reading.beat_ns != after.beat_ns:
        after = replace(after, beat_ns=reading.beat_ns, beat_since_s=now_s)
    after = date_fence(after, attempt, now_s)
    if attempt.owner is None or not (
        is_slurm_over(after, attempt, waits, min_job_age_s, now_s) and _is_beat_still(after, waits, now_s)
    ):
        return replace(after, over_since_s=None)
    return after if after.over_since_s is not None else replace(after, over_since_s=now_s)


def date_fence(before: Observation, attempt: AttemptJournal, now_s: float) -> Observation:
    """Note when it was first seen that nothing of an attempt will start, whoever fenced or declined it."""
    is_barred = attempt.fence is not None or attempt.declined is not None
    return replace(before, fenced_since_s=now_s) if is_barred and before.fenced_since_s is None else before


def is_slurm_over(seen: Observation, attempt: AttemptJournal, waits: Waits, min_job_age_s: float, now_s: float) -> bool:
    """Rule 5 (i): a terminal state, or three good polls without it over long enough.

    An end is not believed if a copy stepped aside (it may be the copy's), nor if no beat was ever seen: the beat
    could not contradict it (docs/decisions/0012).
    """
    if seen.ended is not None and seen.beat_ns is not None and not attempt.dups:
        return True
    if seen.absent_since_s is None or seen.absent_polls < 3:
        return False
    return now_s - seen.absent_since_s >= max(waits.unlisted_s, min_job_age_s)


def is_over(seen: Observation, waits: Waits, now_s: float) -> bool:
    """Rule 5, whole: Slurm says over, the beat stood still, and the exit record was looked for long enough since."""
    return seen.over_since_s is not None and now_s - seen.over_since_s >= waits.look_again_s


def _is_beat_still(seen: Observation, waits: Waits, now_s: float) -> bool:
    return now_s - seen.beat_since_s >= waits.beat_still_s


def _retarget(before: Observation, target: str, now_s: float) -> Observation:
    return replace(
        before, target=target, absent_polls=0, absent_since_s=None, ended=None, beat_since_s=now_s, over_since_s=None,
        running_since_s=None, running_seen_s=None,
    )  # fmt: skip


def _count_poll(before: Observation, attempt: AttemptJournal, lines: Sequence[JobLine], now_s: float) -> Observation:
    if not lines:
        return replace(
            before,
            absent_polls=before.absent_polls + 1,
            absent_since_s=now_s if before.absent_since_s is None else before.absent_since_s,
            running_since_s=None,
            running_seen_s=None,
        )
    standings = [classify_state(line.state) for line in lines]
    ended = [line.state for line, standing in zip(lines, standings, strict=True) if standing.kind == "ended"]
    kinds = {standing.kind for standing in standings}
    is_unclaimed = attempt.owner is None and "running" in kinds
    limits = [line.time_limit_s for line in lines if line.time_limit_s is not None]
    return replace(
        before,
        absent_polls=0,
        absent_since_s=None,
        ended=ended[0] if len(ended) == len(lines) else None,
        paused="paused" in kinds,
        time_limit_s=limits[0] if limits else before.time_limit_s,
        running_since_s=(before.running_since_s or now_s) if is_unclaimed else None,
        running_seen_s=now_s if is_unclaimed else None,
    )


def apply_accounting(before: Observation, attempt: AttemptJournal, lines: Sequence[AccountingLine]) -> Observation:
    """Add what sacct says of a job that squeue lists no more. Only an end counts, and only of the right job."""
    owner = attempt.owner
    ours = [line for line in lines if owner is None or line.job_id == owner.job_id]
    ended = [line.state for line in ours if classify_state(line.state).kind == "ended"]
    if before.absent_polls == 0 or not ended or len(ended) < len(ours):
        return before
    return replace(before, ended=ended[-1])


def carry_over(before: Observation, boot_id: str, now_s: float) -> Observation:
    """What stays true on another boot: what Slurm said, and that we cancelled. Its clock and its counts do not."""
    return Observation(
        boot_id=boot_id,
        attempt=before.attempt,
        since_s=now_s,
        beat_since_s=now_s,
        target=before.target,
        ended=before.ended,
        time_limit_s=before.time_limit_s,
        tries=before.tries,
        scancel_at_s=None if before.scancel_at_s is None else now_s,
    )
