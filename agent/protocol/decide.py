"""What to do next for a task, from what was read and seen. Pure: the heart of the protocol (rules 1 to 7).

decide() may be wrong by the time its step is done; that is why every step that matters is a link(2) that somebody
else may have won. tests/agent/protocol/test_decide_world.py drives this very function through a hostile world.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from agent.protocol.actions import (
    Action,
    Adopt,
    Amend,
    CancelJobs,
    Close,
    OpenAttempt,
    PrepareSubmission,
    PutFence,
    PutNote,
    Wait,
)
from agent.protocol.journal import AttemptJournal, TaskJournal
from agent.protocol.observation import Observation, is_over
from agent.protocol.verdict import judge_exit, judge_without_exit, needs_slurms_word
from agent.settings import Waits
from agent.slurm.reasons import is_launch_failure
from agent.slurm.states import classify_state
from agent.slurm.values import JobLine
from mltm.contract.ids import render_job_name
from mltm.contract.journal_records import Exit, JobClaim, Verdict
from mltm.contract.retry_delay import exponential_delay_s
from mltm.contract.states import State
from mltm.contract.task_config import RerunEnd, TaskConfig

__all__ = ["Situation", "decide"]

_SAME_REFUSAL = 3
_CORRECTED = frozenset({State.LOST, State.NODE_FAIL})  # ends that an exit record corrects if it comes late (rule 7)
# What a copy met there says nothing about its task: a stop (a preemption), a full disk, a file system in trouble.
_NOT_THE_TASKS = frozenset({"stopped", "space", "sync"})
_CANCELLED = Verdict(state=State.CANCELLED, reason="It was cancelled before it started.", evidence="fence")


@dataclass(frozen=True)
class Situation:
    """Everything but the journal that a decision rests on.

    lines: what the last good poll lists under the last attempt's name. may_submit: this process won the last intent
    and has not called sbatch for it. refusal: why site policy will not run this task. config: None where the task's
    manifest is not there yet, or cannot be read: nothing is submitted without one. is_over_memory: Slurm's step daemon
    has written that it killed the job for its memory.
    """

    observation: Observation
    now_s: float
    lines: tuple[JobLine, ...] = ()
    may_submit: bool = False
    refusal: str | None = None
    config: TaskConfig | None = None
    is_over_memory: bool = False


def decide(journal: TaskJournal, situation: Situation, waits: Waits) -> Action:
    """Choose the next step for a task."""
    if journal.closed is not None:
        return _after_the_end(journal, situation)
    last = journal.last
    if last is None:
        return _open_first(journal, situation)
    if last.own_exit is not None:
        return _close_with_exit(journal, last, last.own_exit, situation, waits)
    if last.owner is not None:
        return _watch_owner(journal, last, last.owner, situation, waits)
    if last.fence is not None:
        return _after_fence(journal, last, situation, waits)
    return _watch_unowned(journal, last, situation, waits)


def _open_first(journal: TaskJournal, situation: Situation) -> Action:
    if journal.cancel is not None:
        return Close(1, _CANCELLED)
    if situation.refusal is not None:
        return Close(1, Verdict(state=State.REJECTED, reason=situation.refusal, evidence="policy"))
    if journal.held or situation.config is None:
        return Wait(situation.now_s + 60)
    return OpenAttempt(1)


def _after_the_end(journal: TaskJournal, situation: Situation) -> Action:
    closed, last = journal.closed, journal.last
    if closed is None or last is None or last.own_exit is None or journal.amended is not None:
        return Wait(situation.now_s + 3600)
    if closed.verdict.state not in _CORRECTED or closed.verdict.evidence == "exit":
        return Wait(situation.now_s + 3600)
    return Amend(_judge(journal, last, last.own_exit, situation))


def _judge(journal: TaskJournal, last: AttemptJournal, record: Exit, situation: Situation) -> Verdict:
    slurm = None if last.dups else situation.observation.ended
    return judge_exit(
        record, slurm=slurm, cancelled=journal.cancel is not None, limit_s=situation.observation.time_limit_s
    )


def _close_with_exit(
    journal: TaskJournal, last: AttemptJournal, record: Exit, situation: Situation, waits: Waits
) -> Action:
    owner, observed = last.owner, situation.observation
    if last.noted is None and owner is not None and isinstance(last.claim, JobClaim):
        return PutNote(last.number, owner)
    # A job that was stopped, or died by a signal, is judged with Slurm's word; two good polls without it are enough
    # here, because the code has ended for certain.
    is_open = needs_slurms_word(record) and journal.cancel is None and not last.dups
    if is_open and observed.ended is None and not _is_gone(observed, waits.fence_after_s, situation.now_s):
        return Wait(situation.now_s + waits.poll_soon_s, needs_poll=True)
    return _close_or_rerun(journal, last, _judge(journal, last, record, situation), situation)


def _close_or_rerun(
    journal: TaskJournal, last: AttemptJournal, verdict: Verdict, situation: Situation
) -> OpenAttempt | Close:
    """An attempt that ran is over: what follows depends on how it ended, whoever said so (rule 6)."""
    if _may_rerun(journal, verdict, situation):
        if situation.refusal is None:
            how = f"attempt {last.number} ended as {verdict.state}"
            return OpenAttempt(last.number + 1, how, verdict.state, after_exit=last.own_exit is not None)
        verdict = verdict.model_copy(update={"reason": f"{verdict.reason} No rerun: {situation.refusal}".strip()})
    return Close(last.number + 1, verdict)


def _watch_owner(
    journal: TaskJournal, last: AttemptJournal, owner: JobClaim, situation: Situation, waits: Waits
) -> Action:
    observed = situation.observation
    if last.noted is None:
        return PutNote(last.number, owner)
    if last.declined is not None:
        return _after_fence(journal, last, situation, waits)
    if is_over(observed, waits, situation.now_s):
        verdict = judge_without_exit(
            owner, slurm=None if last.dups else observed.ended, is_over_memory=situation.is_over_memory
        )
        return _close_or_rerun(journal, last, verdict, situation)
    # With a copy that stepped aside, an end may be the copy's, and the owner may still have to be cancelled.
    may_run = observed.ended is None or bool(last.dups)
    if journal.cancel is not None and may_run and _is_due(observed.scancel_at_s, 30, situation.now_s):
        return CancelJobs(((owner.job_id, render_job_name(journal.task_id, last.number)),))
    return Wait(situation.now_s + min(waits.rescan_s, 30))


def _may_rerun(journal: TaskJournal, verdict: Verdict, situation: Situation) -> bool:
    config = situation.config
    if config is None or journal.cancel is not None or not _names_end(config.rerun_on, verdict):
        return False
    reruns = sum(1 for attempt in journal.attempts if attempt.intent.after_state is not None)
    return reruns < config.rerun_limit


def _names_end(rerun_on: Sequence[RerunEnd], verdict: Verdict) -> bool:
    """True if an end, or the exit code with which the script left by itself, is among these."""
    left_by_itself = verdict.state is State.FAILED and verdict.signal is None
    return verdict.state in rerun_on or (left_by_itself and verdict.exit_code in rerun_on)


def _after_fence(journal: TaskJournal, last: AttemptJournal, situation: Situation, waits: Waits) -> Action:
    """Nothing of the last attempt will ever start: an agent fenced it, or its owner said that it did not."""
    fence, number = last.fence, last.number + 1
    reason = fence.reason if fence else "refused_start"
    message = fence.message if fence else last.declined.message if last.declined else ""
    if journal.cancel is not None or reason == "cancel":
        return Close(number, _never_started(journal, State.CANCELLED, "It was cancelled before it started."))
    match reason:
        case "admin_cancel":
            by = "Its job was cancelled in Slurm before it started: by somebody, or by Slurm itself after a crash."
            return Close(number, _never_started(journal, State.CANCELLED, by))
        case "deadline":
            return Close(number, _never_started(journal, State.DEADLINE, "Slurm's deadline passed before it started."))
        case "refused_by_slurm" | "refused_by_policy":
            return Close(number, _never_started(journal, State.REJECTED, message))
        case _:
            pass
    if (refusal := _same_refusals(journal)) is not None:
        return Close(number, _never_started(journal, State.REJECTED, refusal))
    if situation.refusal is not None:
        return Close(number, _never_started(journal, State.REJECTED, situation.refusal))
    if situation.config is None:
        return Wait(situation.now_s + 60)
    fenced_s = situation.observation.fenced_since_s
    due_s = (situation.now_s if fenced_s is None else fenced_s) + exponential_delay_s(
        last.number - 1, waits.retry_first_s, waits.retry_max_s
    )
    if journal.held:
        return Wait(situation.now_s + 60)
    if situation.now_s < due_s:
        return Wait(due_s)
    return OpenAttempt(number, f"attempt {last.number} never started: {message or reason}")


def _never_started(journal: TaskJournal, state: State, message: str) -> Verdict:
    """The end of a task whose last attempt is fenced. Where an earlier attempt ran, its end is the task's (rule 7)."""
    ran = [attempt for attempt in journal.attempts if attempt.may_have_run]
    if not ran:
        return Verdict(state=state, reason=message, evidence="fence")
    earlier = _read_earlier_end(journal, ran[-1])
    end = State.CANCELLED if state is State.CANCELLED else earlier.state
    reason = f"Attempt {ran[-1].number} ended as {earlier.state}; the rerun never started: {message}"
    return earlier.model_copy(update={"state": end, "reason": reason})


def _read_earlier_end(journal: TaskJournal, ran: AttemptJournal) -> Verdict:
    """How the last attempt that ran ended: as the intent after it says, or as a late exit record corrects it."""
    following = journal.attempts[ran.number].intent if ran.number < len(journal.attempts) else None
    said, owner, record = following.after_state if following else None, ran.owner, ran.own_exit
    if record is not None:
        judged = judge_exit(record, slurm=None, cancelled=False, limit_s=None)
        is_corrected = said in {None, *_CORRECTED} and not (following and following.after_exit)
        return judged if is_corrected else judged.model_copy(update={"state": said})
    return Verdict(
        state=said or State.LOST, evidence="claim", job_id=owner.job_id if owner else None,
        node=owner.node if owner else None, started_at=owner.at if owner else None,
    )  # fmt: skip


def _same_refusals(journal: TaskJournal) -> str | None:
    said = [
        (r.check, r.message) for attempt in journal.attempts for r in attempt.refused if r.check not in _NOT_THE_TASKS
    ]
    often = [message for check, message in said if said.count((check, message)) >= _SAME_REFUSAL]
    return f"The job refused to start, {_SAME_REFUSAL} times for the same reason: {often[0]}" if often else None


def _watch_unowned(journal: TaskJournal, last: AttemptJournal, situation: Situation, waits: Waits) -> Action:
    """An attempt whose claim nobody has: it may start at any moment, or never."""
    observed, submitted, number = situation.observation, last.submitted, last.number
    waiting = tuple(line for line in situation.lines if classify_state(line.state).kind != "ended")
    if journal.cancel is not None:
        return PutFence(number, "cancel", "cancelled")
    if submitted is not None and submitted.outcome == "permanent":
        # Slurm 22.05 may list a job that it refused, as FAILED with BadConstraints: its refusal goes first.
        return PutFence(number, "refused_by_slurm", submitted.message)
    if waiting:
        return _watch_listed(last, waiting, situation, waits)
    if observed.ended is not None:
        return _fence_ended(last, situation)
    is_refused = submitted is not None and submitted.outcome in {"transient", "limit"}
    if journal.held and (is_refused or (submitted is None and situation.may_submit)):
        return Wait(situation.now_s + 60)
    if submitted is None and situation.may_submit:
        return PrepareSubmission(number)
    if is_refused:
        if observed.retry_at_s is None or situation.now_s >= observed.retry_at_s:
            return PrepareSubmission(number)
        return Wait(observed.retry_at_s)
    is_unanswered = submitted is not None and submitted.outcome == "ambiguous"
    after_s = max(waits.late_accept_s, waits.fence_after_s) if is_unanswered else waits.fence_after_s
    if _is_gone(observed, after_s, situation.now_s):
        ambiguous = submitted is None or is_unanswered
        message = "nobody knows whether sbatch was heard" if ambiguous else "Slurm does not know the job any more"
        return PutFence(number, "ambiguous" if ambiguous else "unknown", message)
    return Wait(situation.now_s + waits.rescan_s)


def _watch_listed(last: AttemptJournal, waiting: tuple[JobLine, ...], situation: Situation, waits: Waits) -> Action:
    number, first = last.number, waiting[0]
    if last.submitted is None or last.submitted.job_id is None:
        return Adopt(number, first.job_id)
    if any(is_launch_failure(line.reason) for line in waiting):
        return PutFence(number, "launch_failed", "Slurm could not launch the job and holds it")
    since_s, until_s = situation.observation.running_since_s, situation.observation.running_seen_s
    if since_s is not None and until_s is not None and until_s - since_s >= waits.no_claim_s:
        return PutFence(number, "no_claim", f"job {first.job_id} runs, and its first act did not happen")
    return Wait(situation.now_s + waits.rescan_s)


def _fence_ended(last: AttemptJournal, situation: Situation) -> Action:
    text = situation.observation.ended or ""
    end = classify_state(text).ended
    if end is State.CANCELLED and situation.observation.scancel_at_s is None:
        return PutFence(last.number, "admin_cancel", text)
    if end is State.DEADLINE:
        return PutFence(last.number, "deadline", text)
    if last.refused:
        return PutFence(last.number, "refused_start", last.refused[-1].message)
    return PutFence(last.number, "node_fail", f"the job ended in Slurm as {text} before it started the task")


def _is_gone(situation: Observation, after_s: float, now_s: float) -> bool:
    """Two good polls without it, over long enough. Economy only: fencing early is safe."""
    is_old = situation.absent_since_s is not None and now_s - situation.absent_since_s >= after_s
    return situation.absent_polls >= 2 and is_old


def _is_due(last_s: float | None, every_s: float, now_s: float) -> bool:
    return last_s is None or now_s - last_s >= every_s
