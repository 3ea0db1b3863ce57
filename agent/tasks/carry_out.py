"""Carries out one step of a task; what it asks of Slurm is collected, so that a round asks once for all tasks."""

from collections.abc import Callable

from agent.job.launch import Refusal, plan_launch
from agent.protocol.actions import CallSbatch, CancelJobs, OpenAttempt, PutFence, Step, Wait
from agent.protocol.journal import TaskLog
from agent.slurm.request import SubmitRequest
from agent.tasks.leftovers import note_leftover
from agent.tasks.memory import Memory
from agent.tasks.perform import Hands, plan_attempt, put_record
from mltm.contract.ids import JobId, TaskId

__all__ = ["Carrier"]


class Carrier:
    """The steps of one round. `room`: how many attempts may still be opened in it. read_kill_wait_s: asks Slurm."""

    def __init__(self, hands: Hands, room: int, read_kill_wait_s: Callable[[], float]) -> None:
        self._hands, self._room, self._read_kill_wait_s = hands, room, read_kill_wait_s
        self.cancels: list[tuple[JobId, str]] = []
        self.submissions: dict[TaskId, tuple[int, SubmitRequest]] = {}

    def do(self, step: Step, log: TaskLog, memory: Memory) -> bool:
        """Do a step; True where the log should be read again at once."""
        match step:
            case OpenAttempt(number):
                return self._open(step, number, log, memory)
            case CallSbatch(number):
                return self._plan(log, number, memory)
            case CancelJobs(jobs):
                self.cancels.extend((JobId(job_id), name) for job_id, name in jobs)
                memory.note(scancel_at_s=self._hands.clock.boot_s())
                return True
            case PutFence():
                note_leftover(self._hands.spool, log.task_id, step, self._hands.clock)
                put_record(step, log.task_id, self._hands)
                return True
            case Wait():
                return False
            case _:
                put_record(step, log.task_id, self._hands)
                return True

    def _open(self, step: OpenAttempt, number: int, log: TaskLog, memory: Memory) -> bool:
        config = memory.config
        if config is None or self._room <= 0:
            return False
        planned = plan_launch(config, self._hands.spool.task(log.task_id), number, self._hands.settings)
        if isinstance(planned, Refusal):
            memory.refusal = planned.words
            return True
        self._room -= 1
        if put_record(step, log.task_id, self._hands):
            memory.may_submit = number
        return True

    def _plan(self, log: TaskLog, number: int, memory: Memory) -> bool:
        if memory.config is None:
            return False
        kill_wait_s = self._read_kill_wait_s()
        planned = plan_attempt(memory.config, log.task_id, number, self._hands, kill_wait_s=kill_wait_s)
        if isinstance(planned, Refusal):
            put_record(PutFence(number, "refused_by_policy", planned.words), log.task_id, self._hands)
            return True
        self.submissions[log.task_id] = (number, planned.request)
        return False
