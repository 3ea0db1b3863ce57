"""How an attempt ended whose code may have started (protocol: "The verdict"). Pure.

Success comes from an exit record and from nothing else. What never started is judged in decide.py.
"""

import re

from agent.slurm.states import classify_state
from mltm.contract.journal_records import Exit, JobClaim, Verdict
from mltm.contract.states import State

__all__ = ["is_over_memory", "judge_exit", "judge_without_exit", "needs_slurms_word", "read_slurm_end"]

_TELLING = frozenset(
    {State.TIMEOUT, State.OUT_OF_MEMORY, State.CANCELLED, State.PREEMPTED, State.NODE_FAIL, State.DEADLINE}
)
_REASONS = {
    State.TIMEOUT: "It reached its time limit. Ask for more: resources.time_limit.",
    State.OUT_OF_MEMORY: "The task needed more memory than it asked for. Ask for more: resources.memory.",
    State.CANCELLED: "It was cancelled.",
    State.PREEMPTED: "Slurm took its node for a job of higher priority.",
    State.NODE_FAIL: "Its node failed.",
    State.DEADLINE: "Slurm's deadline for it passed.",
}
_LOST_REASON = (
    "It started, it is over, and it left no exit record: the node or the job died in an instant. "
    "What it did up to then stands in its log and outputs."
)
# Slurm 26.05 puts the time in the place of slurmstepd's name.
_OVER_MEMORY = re.compile(
    r"^(slurmstepd\S*:|\[[^]\n]*\]) error: .*exceeded (job )?memory limit", re.IGNORECASE | re.MULTILINE
)
_OVER_MEMORY_REASON = "Slurm killed it: it used more memory than it asked for. Ask for more: resources.memory."
_SIGNALS = {"HUP": 1, "INT": 2, "QUIT": 3, "USR1": 10, "USR2": 12, "TERM": 15, "XCPU": 24}


def read_slurm_end(text: str | None) -> State | None:
    """The end that a Slurm state names by itself; None for COMPLETED, FAILED, and whatever is no end."""
    end = classify_state(text).ended if text else None
    return end if end in _TELLING else None


def needs_slurms_word(record: Exit) -> bool:
    """True where the exit record alone does not say why it ended, so that the verdict waits for Slurm's word.

    That is where it was stopped, died by a signal, or failed with nobody having counted the OOM kills. Where this is
    False, Slurm's word changes nothing: the verdict does not depend on which came first (docs/decisions/0007).
    """
    if record.oom_kills and record.code != 0:
        return False
    is_uncounted = record.code != 0 and record.oom_kills is None
    return bool(record.stop_signals) or _died_of(record.code) is not None or is_uncounted


_TOO_LATE = "The cancel came too late: the script had ended by itself."


def judge_exit(record: Exit, *, slurm: str | None, cancelled: bool, limit_s: float | None) -> Verdict:
    """Judge an exit record.

    `slurm`: the job's terminal state as Slurm said it, None where it says nothing (or where a duplicate makes its
    word worthless). `cancelled`: our cancel is on record.
    """
    state, reason = _judge(record, slurm, cancelled=cancelled, limit_s=limit_s)
    if cancelled and not record.stop_signals and state in {State.SUCCEEDED, State.FAILED}:
        reason = f"{reason} {_TOO_LATE}".strip()
    return Verdict(
        state=state,
        reason=reason,
        exit_code=record.code,
        signal=_signal(record),
        slurm_state=slurm,
        job_id=record.job_id,
        node=record.node,
        started_at=record.started_at,
        ended_at=record.ended_at,
        elapsed_s=record.elapsed_s,
        evidence="exit",
    )


def _judge(record: Exit, said: str | None, *, cancelled: bool, limit_s: float | None) -> tuple[State, str]:
    slurm, stopped = read_slurm_end(said), bool(record.stop_signals)
    is_starved = slurm is State.OUT_OF_MEMORY and needs_slurms_word(record)
    if (record.oom_kills and record.code != 0) or is_starved:
        return State.OUT_OF_MEMORY, _REASONS[State.OUT_OF_MEMORY]
    if record.code == 0 and (not stopped or _is_cleared(record, said)):
        return State.SUCCEEDED, ""
    if _died_of(record.code) is None and not stopped:
        return State.FAILED, _explain_code(record)
    end = slurm or _infer_end(record, cancelled=cancelled, limit_s=limit_s)
    if end is State.NODE_FAIL and slurm is None:
        return end, "The job could not reach the shared folder for minutes and stopped itself."
    signal = _signal(record)
    killed = f"The script was ended by signal {signal}." if signal else "The script was stopped by a signal."
    return end, _REASONS.get(end, killed)


def _is_cleared(record: Exit, said: str | None) -> bool:
    """True where every stop signal came after the code was seen to end, and Slurm says that it cut nothing off."""
    return not record.stopped_in_time and (said or "").upper() == "COMPLETED"


def _infer_end(record: Exit, *, cancelled: bool, limit_s: float | None) -> State:
    """Name the end of a stopped job of which Slurm says COMPLETED, FAILED or nothing."""
    if record.stopped_for_beat:
        return State.NODE_FAIL
    if cancelled:
        return State.CANCELLED
    if limit_s is not None and record.elapsed_s >= limit_s:
        return State.TIMEOUT
    return State.FAILED


def is_over_memory(slurm_output: str) -> bool:
    """True where Slurm's step daemon says that it killed the job for its memory (JobAcctGatherParams=OverMemoryKill).

    That is a KILL for the wrapper too, and Slurm shows the job as FAILED (22.05 to 26.05; docs/decisions/0014).
    """
    return _OVER_MEMORY.search(slurm_output) is not None


def judge_without_exit(owner: JobClaim, *, slurm: str | None, is_over_memory: bool = False) -> Verdict:
    """Judge an attempt that started and is over without an exit record: Slurm's word, else honestly lost."""
    end = read_slurm_end(slurm)
    if end is None and is_over_memory:
        return _end_without_exit(owner, slurm, State.FAILED, _OVER_MEMORY_REASON, "slurm")
    if end is not None:
        return _end_without_exit(owner, slurm, end, _REASONS[end], "slurm")
    return _end_without_exit(owner, slurm, State.LOST, _LOST_REASON, "claim")


def _end_without_exit(owner: JobClaim, slurm: str | None, state: State, reason: str, evidence: str) -> Verdict:
    return Verdict(
        state=state,
        reason=reason,
        slurm_state=slurm,
        job_id=owner.job_id,
        node=owner.node,
        started_at=owner.at,
        evidence=evidence,
    )


def _explain_code(record: Exit) -> str:
    if record.image_started is False:
        return f"The image did not start (exit code {record.code}); the log says why."
    return f"The script ended with exit code {record.code}; its log says why."


def _died_of(code: int) -> int | None:
    """The signal that an exit code of bash names: 128 + 1 to 64. Apptainer's 255 is a code (docs/decisions/0001)."""
    return code - 128 if 129 <= code <= 192 else None


def _signal(record: Exit) -> int | None:
    if (died_of := _died_of(record.code)) is not None:
        return died_of
    if record.stop_signals:
        return _SIGNALS.get(record.stop_signals[0].name.removeprefix("SIG"))
    return None
