"""One task's turn, as a value: what the task is now, and what is to be done about it. Pure.

From what lies on disk, what was kept of it before and the newest picture of Slurm's queue; carried out elsewhere.
"""

from dataclasses import dataclass, replace

from agent.protocol.actions import Action, OpenAttempt, PrepareSubmission, Wait
from agent.protocol.decide import Situation, decide
from agent.protocol.journal import TaskJournal
from agent.protocol.kept import Kept, continue_observation
from agent.protocol.observation import Observation, Reading, apply_accounting, date_fence, update_observation
from agent.protocol.task_report import ReportDraft, Told, describe_late_exit, describe_task, digest_draft
from agent.settings import Waits
from agent.slurm.values import JobLine, SbatchAnswer
from agent.tasks.facts import EndedTask, Facts
from agent.tasks.slurm_queue import QueueSnapshot
from agent.tasks.state import TaskState
from mltm.contract.base_models import render_canonical
from mltm.contract.ids import render_job_name
from mltm.contract.parse_config import ConfigError, parse_config
from mltm.contract.retry_delay import exponential_delay_s
from mltm.contract.task_config import TaskConfig

__all__ = [
    "Effect",
    "FinishTask",
    "LeaveActive",
    "PutReceipt",
    "QueueReport",
    "SaveObservation",
    "Surroundings",
    "Turn",
    "apply_answer",
    "plan_last_report",
    "plan_reports",
    "plan_turn",
]  # fmt: skip

_SOON_S = 0.5


@dataclass(frozen=True)
class Surroundings:
    """Everything but the task that a turn rests on. may_open: the round has room for one more attempt.

    is_fresh: `queue` is from a good poll of this very round, which this task has not been shown yet.
    """

    queue: QueueSnapshot
    waits: Waits
    boot_id: str
    now_s: float
    is_fresh: bool = False
    may_open: bool = True


@dataclass(frozen=True)
class Turn:
    """What the task is now, and the next action; None: nothing is to be done before `state.due_s`."""

    state: TaskState
    action: Action | None = None


@dataclass(frozen=True)
class QueueReport:
    """Put a report into the outbox; `told` is what has been told then."""

    draft: ReportDraft
    told: Told


@dataclass(frozen=True)
class PutReceipt:
    """Write the receipt, if the task was dropped; nobody would ever write the last one again."""

    draft: ReportDraft
    digest: str
    is_last: bool


@dataclass(frozen=True)
class SaveObservation:
    """Save what was observed and told."""


@dataclass(frozen=True)
class FinishTask:
    """Write the tombstone, and take the task off the active ones."""

    draft: ReportDraft


@dataclass(frozen=True)
class LeaveActive:
    """Take a task that has its tombstone off the active ones."""


Effect = QueueReport | PutReceipt | SaveObservation | FinishTask | LeaveActive


def plan_turn(facts: Facts, before: TaskState, around: Surroundings) -> Turn:
    """Take in what was read and seen, and decide. The journal may be read again after each action, for another turn."""
    state = _observe(facts, _refresh(facts, before, around), around)
    action = decide(facts.journal, _sum_up(facts, state, around), around.waits)
    if isinstance(action, Wait):
        return Turn(replace(state, due_s=action.due_s, needs_poll=action.needs_poll, submission=None))
    needs_config = isinstance(action, OpenAttempt | PrepareSubmission)
    if needs_config and (state.config is None or (isinstance(action, OpenAttempt) and not around.may_open)):
        return Turn(replace(state, due_s=around.now_s + _SOON_S, submission=None))
    waiting = state.submission
    state = replace(state, due_s=around.now_s + _SOON_S)
    if isinstance(action, PrepareSubmission) and waiting is not None and waiting.number == action.number:
        return Turn(state)
    return Turn(replace(state, submission=None), action)


def plan_reports(journal: TaskJournal, state: TaskState, queue: QueueSnapshot) -> tuple[Effect, ...]:
    """What is to be reported of a task, what of it is saved, and whether it is finished."""
    if state.observed is None:
        return ()
    late, told = _plan_late_exits(journal, state.told)
    draft = describe_task(journal, state.observed, _find_lines(journal, queue))
    digest = digest_draft(draft)
    effects: list[Effect] = list(late)
    if digest != told.reported:
        last_report = draft.model_dump_json(exclude_defaults=True)
        effects.append(QueueReport(draft, replace(told, reported=digest, last_report=last_report)))
    if digest != told.receipted:
        effects.append(PutReceipt(draft, digest, is_last=journal.closed is not None))
    if journal.closed is not None:
        return (*effects, FinishTask(draft))
    return (*effects, SaveObservation()) if effects or not _is_kept(state.kept, state.observed) else ()


def plan_last_report(ended: EndedTask, told: Told) -> tuple[Effect, ...]:
    """Tell the end of a task once more, and leave it in peace."""
    tells = [QueueReport(ended.last_report, told)] if ended.last_report is not None else []
    return (*tells, LeaveActive())


def apply_answer(before: TaskState, answer: SbatchAnswer, waits: Waits, now_s: float) -> TaskState:
    """What a task is once Slurm's answer to its sbatch is on disk."""
    state, seen = replace(before, may_submit=0, submission=None), before.observed
    if seen is None or answer.outcome not in {"transient", "limit"}:
        return state
    first_s = waits.limit_retry_s if answer.outcome == "limit" else waits.retry_first_s
    wait_s = exponential_delay_s(seen.tries, first_s, max(waits.retry_max_s, first_s))
    return replace(state, observed=replace(seen, tries=seen.tries + 1, retry_at_s=now_s + wait_s))


def _refresh(facts: Facts, before: TaskState, around: Surroundings) -> TaskState:
    """Bring what is kept of a task up to its journal."""
    last, closed = facts.journal.last, facts.journal.closed
    number, observed, told, kept = last.number if last else 0, before.observed, before.told, before.kept
    if observed is None or observed.attempt != number:
        found = continue_observation(facts.kept, around.boot_id, number, around.now_s)
        told = found.told if observed is None else told
        observed, kept = found.observed, facts.kept[0] if facts.kept else None
    config, refusal = before.config, before.refusal
    if config is None and refusal is None:
        config, refusal = _read_config(facts.journal)
    # Behind a fence Slurm has nothing to say; leftovers ask for themselves.
    is_open = last is not None and closed is None and last.fence is None
    return replace(
        before,
        listing=facts.listing,
        synced=facts.deciding,
        observed=date_fence(observed, last, around.now_s) if last is not None else observed,
        told=told,
        kept=kept,
        owner=facts.journal.manifest.owner if facts.journal.manifest is not None else before.owner,
        config=config,
        refusal=refusal,
        is_submitted=is_open,
        is_unclaimed=is_open and last is not None and last.owner is None,
    )


def _read_config(journal: TaskJournal) -> tuple[TaskConfig | None, str | None]:
    """The config, or why there is none; neither while the manifest is not there."""
    manifest = journal.manifest
    if manifest is None:
        return None, None
    if manifest.fault:
        return None, manifest.fault
    try:
        return parse_config(render_canonical(manifest.config)), None
    except ConfigError as error:
        return None, f"The config cannot be used: {error}"


def _observe(facts: Facts, state: TaskState, around: Surroundings) -> TaskState:
    """Add a reading of the last attempt's job and beat to what was seen of it."""
    last, before, queue = facts.journal.last, state.observed, around.queue
    if last is None or before is None or facts.journal.closed is not None:
        return state
    name = render_job_name(facts.journal.task_id, last.number)
    # A poll that began before this attempt was first looked at says nothing about it.
    counts = around.is_fresh and before.since_s < queue.asked_s
    reading = Reading(queue.lines.get(name, ()) if counts else None, facts.beat_ns, around.now_s)
    after = update_observation(before, last, reading, around.waits, queue.min_job_age_s)
    return replace(state, observed=apply_accounting(after, last, queue.accounted.get(name, ())))


def _sum_up(facts: Facts, state: TaskState, around: Surroundings) -> Situation:
    last = facts.journal.last
    number = last.number if last else 0
    return Situation(
        observation=state.observed or Observation(around.boot_id, number, around.now_s),
        now_s=around.now_s,
        lines=_find_lines(facts.journal, around.queue),
        may_submit=number > 0 and state.may_submit == number,
        refusal=state.refusal,
        config=state.config,
        is_over_memory=facts.is_over_memory,
    )


def _find_lines(journal: TaskJournal, queue: QueueSnapshot) -> tuple[JobLine, ...]:
    """What the last good poll lists under the last attempt's name."""
    return queue.lines.get(render_job_name(journal.task_id, journal.last.number), ()) if journal.last else ()


def _plan_late_exits(journal: TaskJournal, told: Told) -> tuple[list[QueueReport], Told]:
    """A note in the history of each exit record that came after the next attempt (rule 7)."""
    tells: list[QueueReport] = []
    for attempt, record in journal.late_exits:
        if attempt.number not in told.late_exits:
            told = replace(told, late_exits=(*told.late_exits, attempt.number))
            tells.append(QueueReport(describe_late_exit(journal, attempt, record), told))
    return tells, told


def _is_kept(kept: Kept | None, observed: Observation) -> bool:
    """True if nothing is to be saved: a beat that goes on is seen again by a new process, which counts from there.

    Once Slurm shows an end, or lists the job no more, rule 5 counts, and every change of the beat is kept.
    """
    if kept is None:
        return False
    if observed.ended is not None:
        return kept.observed == observed
    return replace(kept.observed, beat_ns=observed.beat_ns, beat_since_s=observed.beat_since_s) == observed
