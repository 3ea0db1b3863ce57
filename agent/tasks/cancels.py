"""What is to be cancelled in Slurm, and when: all of it together, with a pause between two times.

A job is cancelled by its id together with its name: an id alone may be another job's by now.
"""

from collections.abc import Sequence
from dataclasses import replace

import structlog

from agent.errors import SpoolError
from agent.settings import AgentSettings
from agent.slurm.port import SlurmPort
from agent.slurm.values import JobList
from agent.spool.leftovers import forget_leftover, list_leftovers
from agent.tasks.leftovers import Leftover, count_poll, is_over, read_leftover
from agent.tasks.slurm_queue import QueueSnapshot
from mltm.contract.ids import JobId
from mltm.contract.retry_delay import exponential_delay_s
from mltm.contract.spool_layout import Spool
from mltm.runtime.clock import Clock

__all__ = ["Cancels"]

_log = structlog.get_logger(__name__)
_Job = tuple[JobId, str]
_FEW = 3  #: up to here a guarded scancel each; more are checked against a list of this very moment
_FRESH_S = 5.0
_PAUSE_S = 5.0
_MAX_PAUSE_S = 300.0


class Cancels:
    """The jobs to be cancelled: leftovers, which are listed on disk, and owners', which are decided again."""

    def __init__(self, slurm: SlurmPort, spool: Spool, settings: AgentSettings, clock: Clock) -> None:
        self._slurm, self._spool, self._settings, self._clock = slurm, spool, settings, clock
        self._leftovers: dict[str, Leftover] = {}
        self._owners: dict[_Job, None] = {}
        self._due_s, self._tries = 0.0, 0

    @property
    def due_s(self) -> float | None:
        """When the next scancel is due (boot clock); None if there is nothing to cancel."""
        return self._due_s if self._jobs() else None

    def list_due_s(self, queue: QueueSnapshot) -> float | None:
        """When a poll is needed for the sake of what is here; None if none is."""
        if len(self._jobs()) > _FEW:
            return self._due_s
        is_searching = any(leftover.is_fenced and not leftover.job_ids for leftover in self._leftovers.values())
        return queue.asked_s + self._settings.slurm.poll_interval_s if is_searching else None

    def update_leftovers(self, queue: QueueSnapshot, *, is_fresh: bool) -> None:
        """Read the list on disk, and after a good poll see what Slurm still has. Raises OSError."""
        now_s, known = self._clock.boot_s(), self._leftovers
        self._leftovers = {name: known.get(name) or Leftover(name, now_s) for name in list_leftovers(self._spool)}
        for leftover in list(self._leftovers.values()):
            try:
                self._update(leftover, queue, now_s, is_fresh=is_fresh)
            except (OSError, SpoolError) as error:
                _log.warning("leftover_waits", job_name=leftover.name, error=str(error))
        if is_fresh and self._tries:
            self._due_s = min(self._due_s, now_s)  # Slurm answers again

    def send(self, wanted: Sequence[_Job], queue: QueueSnapshot) -> None:
        """Scancel what is due. What is not done now stays, and is tried again after a pause that grows."""
        self._owners |= dict.fromkeys(wanted)
        jobs, now_s = self._jobs(), self._clock.boot_s()
        if not jobs or now_s < self._due_s:
            return
        if len(jobs) > _FEW and now_s - queue.answered_s > _FRESH_S:
            return  # the next round polls first
        is_good = False
        try:
            is_good = self._send_few(jobs) if len(jobs) <= _FEW else self._send_listed(jobs, queue)
        finally:
            self._pause(is_good=is_good)

    def put_off(self) -> None:
        """Wait longer: the list that many need did not come."""
        if len(self._jobs()) > _FEW:
            self._pause(is_good=False)

    def _jobs(self) -> list[_Job]:
        left = [(job_id, item.name) for item in self._leftovers.values() for job_id in item.job_ids]
        return [*self._owners, *(job for job in left if job not in self._owners)]

    def _update(self, before: Leftover, queue: QueueSnapshot, now_s: float, *, is_fresh: bool) -> None:
        after = before
        if not after.is_fenced or (is_fresh and not after.job_ids):
            after = read_leftover(self._spool, after, now_s)
        if is_fresh and after.is_fenced and after.since_s < queue.asked_s:
            after = count_poll(after, queue.lines.get(after.name, ()), now_s)
        self._leftovers[after.name] = after
        if is_over(after, self._settings, now_s):
            self._forget(after.name)

    def _send_few(self, jobs: Sequence[_Job]) -> bool:
        first = self._tries % len(jobs)  # one that Slurm will not cancel must not keep the others waiting
        return all(self._send([job], None) for job in [*jobs[first:], *jobs[:first]])

    def _send_listed(self, jobs: Sequence[_Job], queue: QueueSnapshot) -> bool:
        listed = JobList(tuple(line for lines in queue.lines.values() for line in lines))
        there = {(line.job_id, line.name) for line in listed.jobs}
        self._owners = {job: None for job in self._owners if job in there}  # the others are gone
        return self._send([job for job in jobs if job in there], listed)

    def _send(self, jobs: Sequence[_Job], listed: JobList | None) -> bool:
        if not jobs:
            return True
        answer = self._slurm.cancel(jobs, listed=listed)
        _log.info("jobs_cancelled", jobs=[job_id for job_id, _ in jobs], outcome=answer.outcome, message=answer.message)
        if answer.outcome != "sent":
            return False
        for job in jobs:
            self._owners.pop(job, None)
            self._strike_out(*job)
        return True

    def _strike_out(self, job_id: JobId, name: str) -> None:
        leftover = self._leftovers.get(name)
        if leftover is None:
            return
        left = tuple(other for other in leftover.job_ids if other != job_id)
        self._leftovers[name] = replace(leftover, job_ids=left)
        if not left:
            self._forget(name)

    def _forget(self, name: str) -> None:
        forget_leftover(self._spool, name)
        self._leftovers.pop(name, None)

    def _pause(self, *, is_good: bool) -> None:
        self._tries = 0 if is_good else self._tries + 1
        self._due_s = self._clock.boot_s() + exponential_delay_s(self._tries, _PAUSE_S, _MAX_PAUSE_S)
