"""Brings one task forward: read, look, decide, carry out, until there is nothing to do now; then settle."""

from collections.abc import Callable

from agent.protocol.actions import Amend, Wait
from agent.protocol.decide import decide
from agent.protocol.journal import TaskLog
from agent.protocol.observation import date_fence
from agent.slurm.request import SubmitRequest
from agent.spool.last_reports import report_again
from agent.spool.outbox import Outbox
from agent.spool.tombstones import has_tombstone, retire
from agent.tasks.carry_out import Carrier
from agent.tasks.memory import Memory, Polls
from agent.tasks.perform import Hands, put_record
from agent.tasks.settle import settle, tell_correction, tell_late_exits
from agent.tasks.sight import find_lines, list_records, look_at_job, read_log, sum_up
from mltm.contract.ids import JobId, TaskId

__all__ = ["Advance"]

_MOST_STEPS = 12
_SOON_S = 0.5


class Advance:
    """Brings tasks forward, round after round."""

    def __init__(
        self, hands: Hands, outbox: Outbox, boot_id: str, read_kill_wait_s: Callable[[], float] | None = None
    ) -> None:
        self._hands, self._outbox, self._boot_id = hands, outbox, boot_id
        self._read_kill_wait_s = read_kill_wait_s or (lambda: hands.settings.slurm.kill_wait_s)
        self._carrier = Carrier(hands, 0, self._read_kill_wait_s)
        self.min_job_age_s = 300.0

    @property
    def cancels(self) -> list[tuple[JobId, str]]:
        """The jobs that this round cancels, by id and name."""
        return self._carrier.cancels

    @property
    def submissions(self) -> dict[TaskId, tuple[int, SubmitRequest]]:
        """The attempts that this round calls sbatch for."""
        return self._carrier.submissions

    def begin_round(self, room: int) -> None:
        """Forget what the last round asked of Slurm. `room`: how many attempts may be opened in this one."""
        self._carrier = Carrier(self._hands, room, self._read_kill_wait_s)

    def look_at(self, task_id: TaskId, memory: Memory, polls: Polls, *, is_fresh: bool, is_rung: bool) -> None:
        """Bring one active task forward. Raises OSError, SpoolError: nothing is lost, it is looked at again."""
        names = list_records(task_id, self._hands)
        is_due = self._hands.clock.boot_s() >= memory.due_s
        if names == memory.names and not (is_due or is_rung or is_fresh):
            return
        spool = self._hands.spool
        if spool.task(task_id).attempt(1).intent.name not in names and has_tombstone(spool, task_id):
            self._tell_end(task_id)
            return
        log = read_log(task_id, names, memory, self._hands, self._boot_id)
        before = memory.observation
        look_at_job(log, memory, polls, self._hands, is_fresh=is_fresh, min_job_age_s=self.min_job_age_s)
        memory.names, log = self._take_steps(log, names, memory, polls)
        settle(log, memory, find_lines(log, polls), before, self._hands, self._outbox)

    def look_again(self, task_id: TaskId) -> None:
        """Look at a task that has ended: a late exit may correct it, once (rule 7). Raises OSError, SpoolError."""
        memory = Memory()
        log = read_log(task_id, list_records(task_id, self._hands), memory, self._hands, self._boot_id)
        if log.closed is None:
            return
        step = decide(log, sum_up(log, memory, Polls(), self._hands), self._hands.settings.waits)
        if isinstance(step, Amend):
            put_record(step, task_id, self._hands)
            log = read_log(task_id, list_records(task_id, self._hands), memory, self._hands, self._boot_id)
        tell_late_exits(log, memory, self._outbox)
        tell_correction(log, self._hands, self._outbox)

    def _tell_end(self, task_id: TaskId) -> None:
        """Of a task that ended its tombstone is left, and somebody asks: its bundle or a cancel came once more."""
        draft = report_again(self._hands.spool, task_id)
        if draft is not None:
            self._outbox.put(draft)
        retire(self._hands.spool, task_id)

    def _take_steps(
        self, log: TaskLog, names: tuple[str, ...], memory: Memory, polls: Polls
    ) -> tuple[tuple[str, ...], TaskLog]:
        """Decide and do until there is nothing to do now; what was listed and read last."""
        for _ in range(_MOST_STEPS):
            step = decide(log, sum_up(log, memory, polls, self._hands), self._hands.settings.waits)
            if isinstance(step, Wait):
                memory.due_s, memory.needs_poll = step.due_s, step.needs_poll
                break
            if not self._carrier.do(step, log, memory):
                memory.due_s = self._hands.clock.boot_s() + _SOON_S
                break
            names = list_records(log.task_id, self._hands)
            log = read_log(log.task_id, names, memory, self._hands, self._boot_id)
            if log.last is not None and memory.observation is not None:
                memory.observation = date_fence(memory.observation, log.last, self._hands.clock.boot_s())
        return names, log
