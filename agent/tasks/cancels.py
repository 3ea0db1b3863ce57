"""What is to be cancelled in Slurm, and when: all of it together, with a pause between two times.

A job is cancelled by its id together with its name: an id alone may be another job's by now.
"""

from collections.abc import Sequence

import structlog

from agent.errors import SpoolError
from agent.slurm.port import SlurmPort
from agent.slurm.values import JobList
from agent.tasks.leftovers import Leftover, count_poll, forget_leftover, is_over, list_leftovers, read_leftover
from agent.tasks.memory import Polls
from agent.tasks.perform import Hands
from mltm.contract.ids import JobId

__all__ = ["Cancels"]

_log = structlog.get_logger(__name__)
_Job = tuple[JobId, str]
_FEW = 3  #: up to here a guarded scancel each; more are checked against a list of this very moment
_FRESH_S = 5.0
_PAUSE_S = 5.0
_MOST_PAUSE_S = 300.0


class Cancels:
    """The jobs to be cancelled: leftovers, which are listed on disk, and owners', which are decided again."""

    def __init__(self, slurm: SlurmPort, hands: Hands) -> None:
        self._slurm, self._hands = slurm, hands
        self._leftovers: dict[str, Leftover] = {}
        self._owners: dict[_Job, None] = {}
        self._due_s, self._tries = 0.0, 0

    @property
    def due_s(self) -> float | None:
        """When the next scancel is due (boot clock); None where there is nothing to cancel."""
        return self._due_s if self._jobs() else None

    def list_due_s(self, polls: Polls) -> float | None:
        """When a poll is needed for the sake of what is here; None where none is."""
        if len(self._jobs()) > _FEW:
            return self._due_s
        is_searching = any(leftover.is_fenced and not leftover.job_ids for leftover in self._leftovers.values())
        return polls.last_s + self._hands.settings.slurm.poll_interval_s if is_searching else None

    def look(self, polls: Polls, *, is_fresh: bool) -> None:
        """Read the list on disk, and after a good poll look what Slurm still has. Raises OSError."""
        now_s, known = self._hands.clock.boot_s(), self._leftovers
        names = list_leftovers(self._hands.spool)
        self._leftovers = {name: known.get(name) or Leftover(name, now_s) for name in names}
        for leftover in list(self._leftovers.values()):
            try:
                self._look_at(leftover, polls, now_s, is_fresh=is_fresh)
            except (OSError, SpoolError) as error:
                _log.warning("leftover_waits", job_name=leftover.name, error=str(error))
        if is_fresh and self._tries:
            self._due_s = min(self._due_s, now_s)  # Slurm answers again

    def send(self, wanted: Sequence[_Job], polls: Polls) -> None:
        """Scancel what is due. What is not done now stays, and is tried again after a pause that grows."""
        self._owners |= dict.fromkeys(wanted)
        jobs, now_s = self._jobs(), self._hands.clock.boot_s()
        if not jobs or now_s < self._due_s:
            return
        if len(jobs) > _FEW and now_s - polls.good_s > _FRESH_S:
            return  # the next round polls first
        is_good = False
        try:
            is_good = self._send_few(jobs) if len(jobs) <= _FEW else self._send_listed(jobs, polls)
        finally:
            self._pause(is_good=is_good)

    def put_off(self) -> None:
        """Wait longer: the list that many need did not come."""
        if len(self._jobs()) > _FEW:
            self._pause(is_good=False)

    def _jobs(self) -> list[_Job]:
        left = [(job_id, item.name) for item in self._leftovers.values() for job_id in item.job_ids]
        return [*self._owners, *(job for job in left if job not in self._owners)]

    def _look_at(self, leftover: Leftover, polls: Polls, now_s: float, *, is_fresh: bool) -> None:
        if not leftover.is_fenced or (is_fresh and not leftover.job_ids):
            read_leftover(self._hands.spool, leftover, now_s)
        if is_fresh and leftover.is_fenced and leftover.since_s < polls.last_s:
            count_poll(leftover, polls.lines.get(leftover.name, ()), now_s)
        if is_over(leftover, self._hands.settings, now_s):
            self._forget(leftover)

    def _send_few(self, jobs: Sequence[_Job]) -> bool:
        first = self._tries % len(jobs)  # one that Slurm will not cancel must not keep the others waiting
        return all(self._send([job], None) for job in [*jobs[first:], *jobs[:first]])

    def _send_listed(self, jobs: Sequence[_Job], polls: Polls) -> bool:
        listed = JobList(tuple(line for lines in polls.lines.values() for line in lines))
        there = {(line.job_id, line.name) for line in listed.jobs}
        self._owners = {job: None for job in self._owners if job in there}  # the others are gone
        return self._send([job for job in jobs if job in there], listed)

    def _send(self, jobs: Sequence[_Job], listed: JobList | None) -> bool:
        if not jobs:
            return True
        answer = self._slurm.cancel(jobs, listed=listed)
        _log.info("jobs_cancelled", jobs=[job_id for job_id, _ in jobs], outcome=answer.outcome, words=answer.words)
        if answer.outcome != "sent":
            return False
        for job_id, name in jobs:
            self._owners.pop((job_id, name), None)
            leftover = self._leftovers.get(name)
            if leftover is not None:
                leftover.job_ids = tuple(other for other in leftover.job_ids if other != job_id)
                if not leftover.job_ids:
                    self._forget(leftover)
        return True

    def _forget(self, leftover: Leftover) -> None:
        forget_leftover(self._hands.spool, leftover.name)
        self._leftovers.pop(leftover.name, None)

    def _pause(self, *, is_good: bool) -> None:
        self._tries = 0 if is_good else self._tries + 1
        pause_s = min(_MOST_PAUSE_S, _PAUSE_S * 2.0 ** min(self._tries, 10))
        self._due_s = self._hands.clock.boot_s() + pause_s
