"""What one round asks of Slurm: at most one squeue for all tasks, sacct for the vanished, one scancel, the sbatches."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta

import structlog

from agent.memory import Memory, Polls
from agent.perform import Hands, record_submission
from agent.slurm.port import SlurmPort
from agent.slurm.request import SubmitRequest
from agent.slurm.values import Accounting, JobLine, JobList, PollFailed, SlurmFacts, Submission
from mltm.contract.ids import JobId, TaskId, parse_job_name, render_job_name

__all__ = ["KILL_WAIT_WORDS", "SlurmRound"]

_log = structlog.get_logger(__name__)
KILL_WAIT_WORDS = "Slurm's KillWait is shorter than kill_wait_s in the agent's config, so Slurm's is used."
_LEARN_EVERY_S = 3600.0
_ACCOUNTING_EVERY_S = 60.0
_MOST_NAMES = 100
_SBATCH_WAIT_S = 2.0


class SlurmRound:
    """The agent's whole traffic with Slurm."""

    def __init__(self, slurm: SlurmPort, hands: Hands) -> None:
        self._slurm, self._hands = slurm, hands
        self._facts: SlurmFacts | None = None
        self._learn_at_s = 0.0
        self.has_deferred = False
        self.problem = ""  #: why Slurm takes no jobs now, in its words

    @property
    def min_job_age_s(self) -> float:
        """Slurm's MinJobAge; its default, 300 s, while it is not known."""
        return float(self._facts.min_job_age_s) if self._facts else 300.0

    @property
    def kill_wait_s(self) -> float:
        """The config's, but never more than Slurm's own: the exit record has to be there before Slurm's KILL."""
        wanted_s = self._hands.settings.slurm.kill_wait_s
        return min(wanted_s, self._facts.kill_wait_s) if self._facts else wanted_s

    def learn(self, now_s: float) -> None:
        """Ask Slurm for its own settings, before the first job and every hour of work: a site may change them."""
        if now_s < self._learn_at_s:
            return
        described = self._slurm.describe()
        if isinstance(described, PollFailed):
            self._learn_at_s = now_s + self._hands.settings.slurm.poll_interval_s
            return
        self._learn_at_s = now_s + _LEARN_EVERY_S
        is_news = self._facts is None or described.kill_wait_s != self._facts.kill_wait_s
        self._facts = described
        if is_news and described.kill_wait_s < self._hands.settings.slurm.kill_wait_s:
            _log.warning("kill_wait_shortened", kill_wait_s=self.kill_wait_s, words=KILL_WAIT_WORDS)

    def due_s(self, memory: Mapping[TaskId, Memory], polls: Polls) -> float | None:
        """When the next poll is due (boot clock); None while Slurm has nothing of ours."""
        waits, slurm = self._hands.settings.waits, self._hands.settings.slurm
        ours = [task for task in memory.values() if task.is_submitted]
        if not ours:
            return None
        is_urgent = any(task.needs_poll for task in ours)
        return polls.last_s + (waits.poll_soon_s if is_urgent else slurm.poll_interval_s)

    def poll(self, memory: Mapping[TaskId, Memory], polls: Polls, now_s: float) -> bool:
        """Ask squeue where a poll is due; True where there is a good new one. A failed poll changes nothing."""
        due_s = self.due_s(memory, polls)
        if due_s is None or now_s < due_s:
            return False
        answer = self._slurm.list_jobs()
        polls.last_s = now_s
        if isinstance(answer, PollFailed):
            polls.problem = f"Slurm does not answer squeue: {answer.words} Tasks keep their states until it does."
            _log.warning("poll_failed", words=answer.words)
            return False
        polls.problem = ""
        polls.lines = _group(answer)
        self._ask_accounting(memory, polls, now_s)
        return True

    def _ask_accounting(self, memory: Mapping[TaskId, Memory], polls: Polls, now_s: float) -> None:
        polls.ended = {}
        if self._facts is None or not self._facts.accounting or now_s < polls.last_accounting_s + _ACCOUNTING_EVERY_S:
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
        answer = self._slurm.account(vanished[:_MOST_NAMES], since=since)
        if isinstance(answer, Accounting):
            grouped = defaultdict(list)
            for line in answer.jobs:
                grouped[line.name].append(line)
            polls.ended = {name: tuple(lines) for name, lines in grouped.items()}

    def cancel(self, jobs: Sequence[tuple[JobId, str]]) -> None:
        """scancel, once for all. What is not done now is decided again later."""
        if jobs:
            answer = self._slurm.cancel(list(dict.fromkeys(jobs)))
            _log.info("jobs_cancelled", jobs=[job_id for job_id, _ in jobs], outcome=answer.outcome, words=answer.words)

    def submit(
        self, wanted: Mapping[TaskId, tuple[int, SubmitRequest]], memory: Mapping[TaskId, Memory]
    ) -> list[TaskId]:
        """Call sbatch for each, write down the answers, and return the tasks that got one."""
        self.has_deferred = False
        if not wanted:
            return []
        answers = self._slurm.submit_many([request for _, request in wanted.values()], wait_s=_SBATCH_WAIT_S)
        answered: list[TaskId] = []
        for task_id, (number, request) in wanted.items():
            answer = answers.get(request.job_name)
            if answer is None or answer.outcome == "deferred":
                self.has_deferred = True
                continue
            record_submission(answer, task_id, number, self._hands)
            is_open = answer.outcome in {"transient", "ambiguous"}
            self.problem = f"Slurm takes no jobs now: {answer.words} They are tried again." if is_open else ""
            self._set_retry(answer, memory[task_id])
            answered.append(task_id)
        return answered

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
