"""Calls sbatch for what waits for it, and writes each answer down at once: one call's outcome is that call's alone."""

from collections.abc import Container, Iterator, Mapping

import structlog

from agent.slurm.port import SlurmPort
from agent.slurm.values import SbatchAnswer
from agent.spool.records import write_submitted
from agent.tasks.context import TaskContext
from agent.tasks.state import Submission
from mltm.contract.ids import TaskId, render_job_name
from mltm.contract.journal_records import Submitted

__all__ = ["SbatchCalls", "record_answer"]

_WAIT_S = 2.0
_log = structlog.get_logger(__name__)


class SbatchCalls:
    """The agent's sbatch calls. has_deferred: some are still to be made, or not answered yet.

    refusal: why Slurm takes no jobs now, in its words. problems: answers that cannot be written, in words.
    """

    def __init__(self, slurm: SlurmPort, context: TaskContext) -> None:
        self._slurm, self._context = slurm, context
        self._unwritten: dict[tuple[TaskId, int], SbatchAnswer] = {}
        self.has_deferred = False
        self.refusal = ""
        self.problems: list[str] = []

    def send(
        self, wanted: Mapping[TaskId, Submission], active: Container[TaskId]
    ) -> Iterator[tuple[TaskId, SbatchAnswer]]:
        """Call sbatch for each; yield each task whose answer is written, as soon as it is.

        An answer that cannot be written is kept while its task is active, and sbatch is not called again for it.
        """
        self.has_deferred, self.problems = False, []
        asked = {each.request.job_name: (task_id, each) for task_id, each in wanted.items()}
        for (task_id, number), answer in list(self._unwritten.items()):
            asked.pop(render_job_name(task_id, number), None)
            if self._write(task_id, number, answer):
                yield task_id, answer
            elif task_id not in active:
                del self._unwritten[task_id, number]  # the task has ended without it
        requests = [each.request for _, each in asked.values()]
        for job_name, answer in self._slurm.submit_many(requests, wait_s=_WAIT_S) if requests else ():
            task_id, submission = asked[job_name]
            if answer.outcome == "deferred":
                self.has_deferred = True
            elif self._write(task_id, submission.number, answer):
                yield task_id, answer

    def _write(self, task_id: TaskId, number: int, answer: SbatchAnswer) -> bool:
        try:
            record_answer(answer, task_id, number, self._context)
        except OSError as error:
            self._unwritten[task_id, number] = answer
            _log.warning("answer_not_written", task_id=task_id, attempt=number, error=str(error))
            self.problems.append(f"Slurm's answer for task {task_id} cannot be written and is kept: {error}")
            return False
        self._unwritten.pop((task_id, number), None)
        self.refusal = _explain_refusal(answer)
        return True


def _explain_refusal(answer: SbatchAnswer) -> str:
    if answer.outcome not in {"transient", "ambiguous"}:
        return ""
    message = answer.message.rstrip(".")
    if answer.attention:
        return f"Slurm refused a job, and it may not pass by itself: {message}. It is tried again."
    return f"Slurm takes no jobs now: {message}. They are tried again."


def record_answer(answer: SbatchAnswer, task_id: TaskId, number: int, context: TaskContext) -> None:
    """Write down Slurm's answer to an sbatch. Raises OSError."""
    record = Submitted(
        job_id=answer.job_id, outcome=answer.outcome, message=answer.message[:4000], attention=answer.attention,
        at=context.clock.now(),
    )  # fmt: skip
    write_submitted(context.spool.task(task_id).attempt(number), record, context.clock)
    _log.info("job_submitted" if answer.outcome == "accepted" else "sbatch_answered", task_id=task_id, attempt=number,
              outcome=answer.outcome, job_id=answer.job_id, runtime=context.settings.runtime)  # fmt: skip
