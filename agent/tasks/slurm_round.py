"""What one round asks of Slurm: at most one squeue for all tasks, sacct for the vanished, the sbatches.

The scancels are agent/tasks/cancels.py's.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta

import structlog

from agent.slurm.port import SlurmPort
from agent.slurm.request import SubmitRequest
from agent.slurm.values import Accounting, JobLine, JobList, NotAsked, PollFailed, SlurmFacts, Submission
from agent.tasks.cancels import Cancels
from agent.tasks.memory import Memory, Polls
from agent.tasks.perform import Hands, record_submission
from mltm.contract.ids import TaskId, parse_job_name, render_job_name

__all__ = ["KILL_WAIT_WORDS", "SlurmRound"]

_log = structlog.get_logger(__name__)
KILL_WAIT_WORDS = "Slurm's KillWait is shorter than kill_wait_s in the agent's config, so Slurm's is used."
_FACTS_EVERY_S = 3600.0
_MOST_NAMES = 100
_SBATCH_WAIT_S = 2.0


class SlurmRound:
    """The agent's whole traffic with Slurm."""

    def __init__(self, slurm: SlurmPort, hands: Hands) -> None:
        self._slurm, self._hands = slurm, hands
        self.cancels = Cancels(slurm, hands)
        self._facts: SlurmFacts | None = None
        self._facts_due_s = float("-inf")
        self._accounted: dict[str, float] = {}  # job name: when sacct last answered about it
        self._unwritten: dict[tuple[TaskId, int], Submission] = {}
        self.has_deferred = False
        self.problems: list[str] = []
        self.refusal = ""  #: why Slurm takes no jobs now, in its words

    @property
    def min_job_age_s(self) -> float:
        """Slurm's MinJobAge; its default, 300 s, while it is not known."""
        return float(self._facts.min_job_age_s) if self._facts else 300.0

    def read_kill_wait_s(self) -> float:
        """The config's kill_wait_s, or Slurm's KillWait where that is less: the exit record goes before Slurm's KILL.

        Slurm is asked before the first job that needs to know.
        """
        if self._facts is None:
            self.learn(self._hands.clock.boot_s())
        wanted_s = self._hands.settings.slurm.kill_wait_s
        return min(wanted_s, self._facts.kill_wait_s) if self._facts else wanted_s

    def learn(self, now_s: float) -> None:
        """Ask Slurm for its settings where that is due: before the first job, every hour of work, after an absence."""
        if now_s < self._facts_due_s:
            return
        described = self._slurm.describe()
        if not isinstance(described, SlurmFacts):
            self._put_off_facts()
            return
        self._facts_due_s = now_s + _FACTS_EVERY_S
        is_news = self._facts is None or described.kill_wait_s != self._facts.kill_wait_s
        self._facts = described
        if is_news and described.kill_wait_s < self._hands.settings.slurm.kill_wait_s:
            _log.warning("kill_wait_shortened", kill_wait_s=described.kill_wait_s, words=KILL_WAIT_WORDS)

    def _put_off_facts(self) -> None:
        # From the answer on: a question that hangs takes longer than this pause, and a burst of tasks has many.
        self._facts_due_s = self._hands.clock.boot_s() + self._hands.settings.slurm.poll_interval_s

    def due_s(self, memory: Mapping[TaskId, Memory], polls: Polls) -> float | None:
        """When the next poll is due (boot clock); None while Slurm has nothing of ours."""
        due = [self._tasks_due_s(memory, polls), self.cancels.list_due_s(polls)]
        return min((due_s for due_s in due if due_s is not None), default=None)

    def _tasks_due_s(self, memory: Mapping[TaskId, Memory], polls: Polls) -> float | None:
        waits, slurm = self._hands.settings.waits, self._hands.settings.slurm
        ours = [task for task in memory.values() if task.is_submitted]
        if not ours:
            return None
        is_urgent = any(task.needs_poll for task in ours)
        # Half of the bucket at most, so that scancel and sacct have their turn.
        least_s = min(2 / slurm.query_bucket.per_second, slurm.poll_interval_s)
        return polls.last_s + (max(waits.poll_soon_s, least_s) if is_urgent else slurm.poll_interval_s)

    def poll(self, memory: Mapping[TaskId, Memory], polls: Polls, now_s: float) -> bool:
        """Ask squeue where a poll is due; True where there is a good new one. A failed poll changes nothing."""
        due_s = self.due_s(memory, polls)
        if due_s is None or now_s < due_s:
            return False
        # What is to be cancelled goes before: the poll leaves it a call.
        answer = self._slurm.list_jobs(spare=0 if self.cancels.due_s is None else 1)
        polls.last_s = now_s
        if not isinstance(answer, JobList):
            self.cancels.put_off()
        if isinstance(answer, NotAsked):
            return False
        if isinstance(answer, PollFailed):
            polls.problem = f"Slurm does not answer squeue: {answer.words} Tasks keep their states until it does."
            _log.warning("poll_failed", words=answer.words)
            polls.last_s = self._hands.clock.boot_s()  # it may have hung: between two such polls all else has its turn
            self._put_off_facts()
            return False
        if polls.problem:
            self._facts_due_s = now_s  # slurmctld was away: it may have come back with another slurm.conf
        polls.problem = ""
        polls.lines, polls.good_s = _group(answer), self._hands.clock.boot_s()
        self.learn(now_s)
        self._ask_accounting(memory, polls, now_s)
        return True

    def _ask_accounting(self, memory: Mapping[TaskId, Memory], polls: Polls, now_s: float) -> None:
        polls.ended = {}
        due_s = polls.last_accounting_s + self._hands.settings.slurm.accounting_interval_s
        if self._facts is None or not self._facts.accounting or now_s < due_s:
            return
        vanished = [
            render_job_name(task_id, task.observation.attempt)
            for task_id, task in memory.items()
            if task.is_submitted and task.observation is not None and task.observation.ended is None
            and task.observation.absent_polls > 0
        ]  # fmt: skip
        if not vanished:
            return
        polls.last_accounting_s = now_s
        since = self._hands.clock.now() - timedelta(days=7)
        names = sorted(vanished, key=lambda name: self._accounted.get(name, float("-inf")))[:_MOST_NAMES]
        answer = self._slurm.account(names, since=since)
        if isinstance(answer, Accounting):
            kept = {name: at_s for name, at_s in self._accounted.items() if name in set(vanished)}
            self._accounted = kept | dict.fromkeys(names, now_s)
            grouped = defaultdict(list)
            for line in answer.jobs:
                grouped[line.name].append(line)
            polls.ended = {name: tuple(lines) for name, lines in grouped.items()}

    def submit(
        self, wanted: Mapping[TaskId, tuple[int, SubmitRequest]], memory: Mapping[TaskId, Memory]
    ) -> list[TaskId]:
        """Call sbatch for each, write down the answers, and return the tasks whose answer is written.

        An answer that cannot be written is kept, and sbatch is not called again for it.
        """
        self.has_deferred, self.problems = False, []
        asked = {(task_id, number): request for task_id, (number, request) in wanted.items()}
        asked = {key: request for key, request in asked.items() if key not in self._unwritten}
        answers = self._slurm.submit_many(list(asked.values()), wait_s=_SBATCH_WAIT_S) if asked else {}
        for key, request in asked.items():
            answer = answers.get(request.job_name)
            if answer is None or answer.outcome == "deferred":
                self.has_deferred = True
            else:
                self._unwritten[key] = answer
        return [task_id for task_id, number in list(self._unwritten) if self._write_answer(task_id, number, memory)]

    def _write_answer(self, task_id: TaskId, number: int, memory: Mapping[TaskId, Memory]) -> bool:
        answer, task = self._unwritten[task_id, number], memory.get(task_id)
        try:
            record_submission(answer, task_id, number, self._hands)
        except OSError as error:
            _log.warning("answer_not_written", task_id=task_id, attempt=number, error=str(error))
            self.problems.append(f"Slurm's answer for task {task_id} cannot be written and is kept: {error}")
            if task is None:
                del self._unwritten[task_id, number]  # the task has ended without it
            return False
        del self._unwritten[task_id, number]
        is_open = answer.outcome in {"transient", "ambiguous"}
        self.refusal = f"Slurm takes no jobs now: {answer.words} They are tried again." if is_open else ""
        if task is not None:
            self._set_retry(answer, task)
        return task is not None

    def _set_retry(self, answer: Submission, memory: Memory) -> None:
        memory.may_submit = 0
        seen, waits = memory.observation, self._hands.settings.waits
        if seen is None or answer.outcome not in {"transient", "limit"}:
            return
        first_s = waits.limit_retry_s if answer.outcome == "limit" else waits.retry_first_s
        wait_s = min(max(waits.retry_most_s, first_s), first_s * 2.0 ** min(seen.tries, 10))
        retry_at_s = self._hands.clock.boot_s() + wait_s
        memory.observation = seen.model_copy(update={"tries": seen.tries + 1, "retry_at_s": retry_at_s})


def _group(answer: JobList) -> dict[str, tuple[JobLine, ...]]:
    grouped: defaultdict[str, list[JobLine]] = defaultdict(list)
    for line in answer.jobs:
        if parse_job_name(line.name) is not None:
            grouped[line.name].append(line)
    return {name: tuple(lines) for name, lines in grouped.items()}
