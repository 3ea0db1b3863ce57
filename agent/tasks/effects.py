"""Carries out what a turn wants: one action or effect, and the state that the task has then.

Each may be repeated, or lost to somebody who was first. Raises OSError, SpoolError, SiteAwayError: the state before
stays true.
"""

import errno
from collections.abc import Callable
from dataclasses import replace

import structlog

from agent.errors import SiteAwayError
from agent.job.launch import Launch, Refusal, plan_launch, write_launch
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
from agent.protocol.kept import Kept
from agent.protocol.task_report import ReportDraft
from agent.settings import AgentSettings
from agent.spool.leftovers import note_leftover
from agent.spool.observations import forget_observation, save_observation
from agent.spool.receipts import update_receipt
from agent.spool.records import link_amended, link_fence, link_intent, link_note, write_submitted
from agent.spool.tombstones import deactivate_task, write_tombstone
from agent.tasks.context import TaskContext
from agent.tasks.state import Submission, TaskState
from agent.tasks.turn import Effect, FinishTask, LeaveActive, PutReceipt, QueueReport, SaveObservation
from mltm.contract.ids import TaskId
from mltm.contract.journal_records import Amended, Closed, Fence, FenceReason, Submit, Submitted
from mltm.contract.spool_layout import TaskFolder
from mltm.contract.task_config import TaskConfig

__all__ = ["Effects"]

_MAY_PASS = frozenset({errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE})
_log = structlog.get_logger(__name__)


class Effects:
    """Does what turns want. read_kill_wait_s: asks Slurm, before the first job that needs to know."""

    def __init__(self, context: TaskContext, read_kill_wait_s: Callable[[], float]) -> None:
        self._context, self._read_kill_wait_s = context, read_kill_wait_s

    def perform_action(self, action: Action, task_id: TaskId, state: TaskState) -> TaskState:
        """Do what decide() chose."""
        context, folder, now = self._context, self._context.spool.task(task_id), self._context.clock.now()
        match action:
            case OpenAttempt(number):
                return self._open(action, number, task_id, state)
            case PrepareSubmission(number):
                return self._plan(number, task_id, state)
            case PutFence(number, reason, message):
                self._fence(task_id, number, reason, message)
            case PutNote(number, claim):
                link_note(folder.attempt(number), claim, context.clock)
            case Adopt(number, job_id):
                found = Submitted(job_id=job_id, outcome="accepted", message="found by its name", at=now)
                write_submitted(folder.attempt(number), found, context.clock)
            case Close():
                self._close(action, task_id)
            case Amend(verdict):
                link_amended(folder, Amended(verdict=verdict, at=now), context.clock)
                _log.warning("task_amended", task_id=task_id, state=verdict.state)
            case CancelJobs() if state.observed is not None:  # all tasks' are sent together, at the end of the round
                return replace(state, observed=replace(state.observed, scancel_at_s=context.clock.boot_s()))
            case CancelJobs() | Wait():
                pass
        return state

    def perform_effect(self, effect: Effect, task_id: TaskId, state: TaskState) -> TaskState:
        """Do what follows: queue a report, write a receipt, save what was observed, finish the task."""
        spool, clock = self._context.spool, self._context.clock
        match effect:
            case QueueReport(draft, told):
                self._context.outbox.put(draft)
                _log.info("task_reported", task_id=task_id, state=draft.state, attempt=draft.attempt)
                return replace(state, told=replace(told, receipted=state.told.receipted))
            case PutReceipt(draft, digest, is_last):
                is_done = self.put_receipt(task_id, draft, is_last=is_last)
                return replace(state, told=replace(state.told, receipted=digest)) if is_done else state
            case SaveObservation() if state.observed is not None:
                kept = Kept(state.observed, state.told)
                save_observation(spool, task_id, kept, clock)
                return replace(state, kept=kept)
            case SaveObservation():
                return state
            case FinishTask(draft):
                write_tombstone(spool, task_id, draft.model_dump_json(exclude_defaults=True), clock)
                deactivate_task(spool, task_id)
                forget_observation(spool, task_id)
                return state
            case LeaveActive():
                deactivate_task(spool, task_id)
                return state

    def put_receipt(self, task_id: TaskId, draft: ReportDraft, *, is_last: bool) -> bool:
        """Write the receipt; False if it has to be tried again.

        It decides nothing: if none can be written (a folder has its name), the task goes on without. But nobody would
        ever write the last one again: what may pass by itself is raised then, as an OSError, and the task stays active.
        """
        try:
            update_receipt(self._context.spool, task_id, draft, self._context.clock)
        except OSError as error:
            may_pass = error.errno in _MAY_PASS
            if may_pass and is_last:
                raise
            _log.warning("receipt_not_written", task_id=task_id, error=str(error))
            return not may_pass
        return True

    def _open(self, action: OpenAttempt, number: int, task_id: TaskId, state: TaskState) -> TaskState:
        """Link the intent, if the site would run the task at all."""
        context, folder, config = self._context, self._context.spool.task(task_id), state.config
        if config is None:
            return state
        planned = _plan_launch(config, folder, number, context.settings)
        if isinstance(planned, Refusal):
            return replace(state, refusal=planned.message)
        opened = Submit(
            nonce=context.clock.nonce(), attempt=number, author=context.author, at=context.clock.now(),
            after=action.after, after_state=action.after_state, after_exit=action.after_exit,
        )  # fmt: skip
        is_ours = link_intent(folder.attempt(number), opened) == opened
        return replace(state, may_submit=number) if is_ours else state

    def _plan(self, number: int, task_id: TaskId, state: TaskState) -> TaskState:
        """Write what the wrapper is to run; what is refused now is fenced."""
        context, folder, config = self._context, self._context.spool.task(task_id), state.config
        if config is None:
            return state
        slurm = context.settings.slurm.model_copy(update={"kill_wait_s": self._read_kill_wait_s()})
        planned = _plan_launch(config, folder, number, context.settings.model_copy(update={"slurm": slurm}))
        if isinstance(planned, Refusal):
            self._fence(task_id, number, "refused_by_policy", planned.message)
            return state
        write_launch(planned, folder, number, context.clock.nonce())
        return replace(state, submission=Submission(number, planned.request))

    def _fence(self, task_id: TaskId, number: int, reason: FenceReason, message: str) -> None:
        context = self._context
        note_leftover(context.spool, task_id, number, reason, context.clock)
        fence = Fence(
            nonce=context.clock.nonce(), reason=reason, message=message, author=context.author, at=context.clock.now()
        )
        is_ours = link_fence(context.spool.task(task_id).attempt(number), fence) == fence
        _log.info("attempt_fenced", task_id=task_id, attempt=number, reason=reason, won=is_ours)

    def _close(self, action: Close, task_id: TaskId) -> None:
        context, verdict = self._context, action.verdict
        closed = Closed(
            nonce=context.clock.nonce(), attempt=action.number, author=context.author, at=context.clock.now(),
            verdict=verdict,
        )  # fmt: skip
        is_ours = link_intent(context.spool.task(task_id).attempt(action.number), closed) == closed
        _log.info("task_closed", task_id=task_id, state=verdict.state, reason=verdict.reason, won=is_ours)


def _plan_launch(config: TaskConfig, folder: TaskFolder, attempt: int, settings: AgentSettings) -> Launch | Refusal:
    """A refusal that may pass is none yet: nothing is linked, and the task is looked at again."""
    planned = plan_launch(config, folder, attempt, settings)
    if isinstance(planned, Refusal) and not planned.permanent:
        raise SiteAwayError(planned.message)
    return planned
