"""Brings one task forward: read, plan, carry out, until there is nothing to do now; then report.

What goes wrong with one task is that task's alone: it is said, and the task is looked at again soon.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import structlog

from agent.errors import SiteAwayError, SpoolError
from agent.protocol.actions import Action, CancelJobs
from agent.tasks.context import TaskContext
from agent.tasks.effects import Effects
from agent.tasks.facts import list_records, read_end, read_facts
from agent.tasks.slurm_queue import QueueSnapshot
from agent.tasks.state import TaskState
from agent.tasks.turn import Effect, Surroundings, plan_last_report, plan_reports, plan_turn
from mltm.contract.ids import JobId, TaskId

__all__ = ["TurnResult", "TurnRunner"]

_MAX_ACTIONS = 12
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class TurnResult:
    """What came of one task's turn. cancels: jobs to be cancelled, by id and name. problem: "" if all went well."""

    state: TaskState
    cancels: tuple[tuple[JobId, str], ...] = ()
    has_opened: bool = False
    problem: str = ""


class TurnRunner:
    """Brings tasks forward, one turn at a time."""

    def __init__(self, context: TaskContext, effects: Effects) -> None:
        self._context, self._effects = context, effects

    def take_turn(
        self, task_id: TaskId, before: TaskState, queue: QueueSnapshot, *, is_fresh: bool, is_rung: bool, may_open: bool
    ) -> TurnResult:
        """Bring one active task forward. Nothing that goes wrong on the way is lost: it is looked at again."""
        result = TurnResult(before)
        try:
            listing = list_records(task_id, self._context)
            is_due = self._context.clock.boot_s() >= before.due_s
            if listing == before.listing and not (is_due or is_rung or is_fresh):
                return result
            for step in self._steps(task_id, listing, before, queue, is_fresh=is_fresh, may_open=may_open):
                result = step
        except (OSError, SpoolError, SiteAwayError) as error:
            due_s = self._context.clock.boot_s() + self._context.settings.waits.poll_soon_s
            _log.warning("task_waits", task_id=task_id, error=str(error))
            message = f"Task {task_id} is blocked and will be retried: {error}"
            return replace(result, state=replace(result.state, listing=(), due_s=due_s), problem=message)
        return result

    def _steps(
        self, task_id: TaskId, listing: tuple[str, ...], state: TaskState, queue: QueueSnapshot, *, is_fresh: bool,
        may_open: bool,
    ) -> Iterator[TurnResult]:  # fmt: skip
        """What the turn has come to after each of its steps, so that an error in the next one loses none of it."""
        result, around = TurnResult(state), self._look_around(queue, is_fresh=is_fresh, may_open=may_open)
        if (ended := read_end(task_id, listing, self._context)) is not None:
            yield from self._perform_effects(plan_last_report(ended, state.told), task_id, result)
            return
        facts = read_facts(task_id, listing, state, self._context)
        for _ in range(_MAX_ACTIONS):
            turn = plan_turn(facts, result.state, around)
            yield (result := replace(result, state=turn.state))
            if turn.action is None:
                break
            yield (result := self._perform(turn.action, task_id, result))
            if result.state.submission is not None:
                break
            around = self._look_around(queue, is_fresh=False, may_open=may_open and not result.has_opened)
            facts = read_facts(task_id, list_records(task_id, self._context), result.state, self._context)
        yield from self._perform_effects(plan_reports(facts.journal, result.state, queue), task_id, result)

    def _perform_effects(self, effects: Iterable[Effect], task_id: TaskId, result: TurnResult) -> Iterator[TurnResult]:
        for effect in effects:
            yield (result := replace(result, state=self._effects.perform_effect(effect, task_id, result.state)))

    def _look_around(self, queue: QueueSnapshot, *, is_fresh: bool, may_open: bool) -> Surroundings:
        waits, now_s = self._context.settings.waits, self._context.clock.boot_s()
        return Surroundings(queue, waits, self._context.boot_id, now_s, is_fresh=is_fresh, may_open=may_open)

    def _perform(self, action: Action, task_id: TaskId, before: TurnResult) -> TurnResult:
        state = self._effects.perform_action(action, task_id, before.state)
        cancels = tuple((JobId(job_id), name) for job_id, name in action.jobs) if isinstance(action, CancelJobs) else ()
        has_opened = before.has_opened or state.may_submit > before.state.may_submit
        return replace(before, state=state, cancels=(*before.cancels, *cancels), has_opened=has_opened)
