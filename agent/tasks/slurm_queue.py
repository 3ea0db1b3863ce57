"""The picture of Slurm's queue: at most one squeue a round for all tasks, and sacct for the vanished.

A picture is a value; a failed poll changes nothing in it but when the next one is due.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

import structlog

from agent.settings import AgentSettings
from agent.slurm.port import SlurmPort
from agent.slurm.values import (
    KILL_WAIT_MESSAGE,
    Accounting,
    AccountingLine,
    JobLine,
    JobList,
    NotAsked,
    PollFailed,
    SlurmFacts,
)
from agent.tasks.state import TaskState
from mltm.contract.ids import TaskId, parse_job_name, render_job_name
from mltm.runtime.clock import Clock

__all__ = ["QueueSnapshot", "SlurmQueue"]

_log = structlog.get_logger(__name__)
_FACTS_EVERY_S = 3600.0
_MAX_NAMES = 100
_NEVER = float("-inf")


@dataclass(frozen=True)
class QueueSnapshot:
    """Slurm's queue as the last good poll showed it. Times are seconds of this host's boot clock.

    lines, accounted: of our jobs, by name; `accounted` is of the last poll's sacct alone.
    """

    lines: Mapping[str, tuple[JobLine, ...]] = field(default_factory=dict)
    accounted: Mapping[str, tuple[AccountingLine, ...]] = field(default_factory=dict)
    asked_s: float = _NEVER  #: when the last poll was asked for; a failed one, when it ended
    answered_s: float = _NEVER  #: when the last good one had answered
    accounted_s: float = _NEVER  #: when sacct was asked last
    min_job_age_s: float = 300.0  #: Slurm's MinJobAge; its default while it is not known
    problem: str = ""


class SlurmQueue:
    """Keeps the newest picture, and Slurm's own settings that the waits depend on."""

    def __init__(self, slurm: SlurmPort, settings: AgentSettings, clock: Clock) -> None:
        self._slurm, self._settings, self._clock = slurm, settings, clock
        self._facts: SlurmFacts | None = None
        self._facts_due_s = _NEVER
        self._accounted: dict[str, float] = {}  # job name: when sacct last answered about it
        self.snapshot = QueueSnapshot()

    def read_kill_wait_s(self) -> float:
        """The config's kill_wait_s, or Slurm's KillWait if that is less: the exit record goes before Slurm's KILL.

        Slurm is asked before the first job that needs to know.
        """
        if self._facts is None:
            self._learn(self._clock.boot_s())
        wanted_s = self._settings.slurm.kill_wait_s
        return min(wanted_s, self._facts.kill_wait_s) if self._facts else wanted_s

    def due_s(self, tasks: Iterable[TaskState]) -> float | None:
        """When the next poll is due for the sake of the tasks (boot clock); None while Slurm has nothing of ours."""
        waits, slurm = self._settings.waits, self._settings.slurm
        ours = [task for task in tasks if task.is_submitted]
        if not ours:
            return None
        is_urgent = any(task.needs_poll for task in ours)
        # Half of the bucket at most, so that scancel and sacct have their turn.
        least_s = min(2 / slurm.query_bucket.per_second, slurm.poll_interval_s)
        return self.snapshot.asked_s + (max(waits.poll_soon_s, least_s) if is_urgent else slurm.poll_interval_s)

    def poll(self, tasks: Mapping[TaskId, TaskState], *, spare: int) -> bool:
        """Ask squeue, only if the bucket then has `spare` calls left; True for a good new picture."""
        now_s, before = self._clock.boot_s(), self.snapshot
        answer = self._slurm.list_jobs(spare=spare)
        self.snapshot = replace(before, asked_s=now_s)
        if isinstance(answer, NotAsked):
            return False
        if isinstance(answer, PollFailed):
            _log.warning("poll_failed", message=answer.message)
            problem = f"Slurm does not answer squeue: {answer.message} Tasks keep their states until it does."
            # It may have hung: between two such polls all else has its turn.
            self.snapshot = replace(before, asked_s=self._clock.boot_s(), problem=problem)
            self._put_off_facts()
            return False
        if before.problem:
            self._facts_due_s = now_s  # slurmctld was away: it may have come back with another slurm.conf
        lines, answered_s = _group(answer), self._clock.boot_s()
        self._learn(now_s)
        self.snapshot = replace(
            self.snapshot,
            lines=lines,
            accounted={},
            answered_s=answered_s,
            min_job_age_s=float(self._facts.min_job_age_s) if self._facts else 300.0,
            problem="",
        )
        self._ask_accounting(tasks, now_s)
        return True

    def _learn(self, now_s: float) -> None:
        """Ask Slurm for its settings if that is due: before the first job, every hour of work, after an absence."""
        if now_s < self._facts_due_s:
            return
        described = self._slurm.describe()
        if not isinstance(described, SlurmFacts):
            self._put_off_facts()
            return
        self._facts_due_s = now_s + _FACTS_EVERY_S
        is_news = self._facts is None or described.kill_wait_s != self._facts.kill_wait_s
        self._facts = described
        if is_news and described.kill_wait_s < self._settings.slurm.kill_wait_s:
            _log.warning("kill_wait_shortened", kill_wait_s=described.kill_wait_s, message=KILL_WAIT_MESSAGE)

    def _put_off_facts(self) -> None:
        # From the answer on: a question that hangs takes longer than this pause, and a burst of tasks has many.
        self._facts_due_s = self._clock.boot_s() + self._settings.slurm.poll_interval_s

    def _ask_accounting(self, tasks: Mapping[TaskId, TaskState], now_s: float) -> None:
        due_s = self.snapshot.accounted_s + self._settings.slurm.accounting_interval_s
        if self._facts is None or not self._facts.accounting or now_s < due_s:
            return
        vanished = [
            render_job_name(task_id, task.observed.attempt)
            for task_id, task in tasks.items()
            if task.is_submitted and task.observed is not None and task.observed.ended is None
            and task.observed.absent_polls > 0
        ]  # fmt: skip
        if not vanished:
            return
        self.snapshot = replace(self.snapshot, accounted_s=now_s)
        since = self._clock.now() - timedelta(days=7)
        names = sorted(vanished, key=lambda name: self._accounted.get(name, _NEVER))[:_MAX_NAMES]
        answer = self._slurm.account(names, since=since)
        if isinstance(answer, Accounting):
            kept = {name: at_s for name, at_s in self._accounted.items() if name in set(vanished)}
            self._accounted = kept | dict.fromkeys(names, now_s)
            grouped: defaultdict[str, list[AccountingLine]] = defaultdict(list)
            for line in answer.jobs:
                grouped[line.name].append(line)
            self.snapshot = replace(self.snapshot, accounted={name: tuple(each) for name, each in grouped.items()})


def _group(answer: JobList) -> dict[str, tuple[JobLine, ...]]:
    grouped: defaultdict[str, list[JobLine]] = defaultdict(list)
    for line in answer.jobs:
        if parse_job_name(line.name) is not None:
            grouped[line.name].append(line)
    return {name: tuple(lines) for name, lines in grouped.items()}
