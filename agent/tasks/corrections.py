"""Looks once more at a task that has ended: an exit record that came late may correct its end, once (rule 7)."""

from agent.protocol.actions import Amend
from agent.protocol.decide import Situation, decide
from agent.protocol.journal import TaskJournal
from agent.protocol.observation import Observation
from agent.protocol.task_report import describe_amended, describe_late_exit
from agent.spool.tombstones import read_tombstone, write_tombstone
from agent.tasks.context import TaskContext
from agent.tasks.effects import Effects
from agent.tasks.facts import Facts, list_records, read_facts
from agent.tasks.state import TaskState
from mltm.contract.ids import TaskId
from mltm.contract.states import Evidence

__all__ = ["Corrections"]


class Corrections:
    """Corrects ends."""

    def __init__(self, context: TaskContext, effects: Effects) -> None:
        self._context, self._effects = context, effects

    def look_again(self, task_id: TaskId) -> None:
        """Correct the end of a task, if a late exit says so. Raises OSError, SpoolError."""
        facts = self._read(task_id)
        if facts.journal.closed is None:
            return
        action = decide(facts.journal, self._sum_up(facts), self._context.settings.waits)
        if isinstance(action, Amend):
            self._effects.perform_action(action, task_id, TaskState())
            facts = self._read(task_id)
        for attempt, record in facts.journal.late_exits:
            self._context.outbox.put(describe_late_exit(facts.journal, attempt, record))
        self._tell(facts.journal)

    def _read(self, task_id: TaskId) -> Facts:
        return read_facts(task_id, list_records(task_id, self._context), TaskState(), self._context)

    def _sum_up(self, facts: Facts) -> Situation:
        last, now_s = facts.journal.last, self._context.clock.boot_s()
        return Situation(Observation(self._context.boot_id, last.number if last else 0, now_s), now_s)

    def _tell(self, journal: TaskJournal) -> None:
        """Tell that an end was corrected.

        The tombstone comes last: while it does not say `amended`, the correction has perhaps not been told.
        """
        if journal.closed is None or journal.amended is None:
            return
        spool = self._context.spool
        told = read_tombstone(spool, journal.task_id)
        if told is None or told.evidence is not Evidence.AMENDED:
            draft = describe_amended(journal, journal.amended.verdict)
            self._context.outbox.put(draft)
            self._effects.put_receipt(journal.task_id, draft, is_last=False)
            write_tombstone(spool, journal.task_id, draft.model_dump_json(exclude_defaults=True), self._context.clock)
