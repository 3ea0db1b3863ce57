"""One round of the agent: take what came in, look at what is active, do what is decided, say what changed.

It decides nothing itself. Its cost grows with the active tasks only, and an idle one makes no Slurm call.
"""

import contextlib
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from agent.errors import SpoolError
from agent.intake.bundles import Intake
from agent.intake.drops import Drops
from agent.settings import AgentSettings
from agent.slurm.port import SlurmPort
from agent.spool.outbox import Outbox
from agent.spool.setup import SpoolIdentity
from agent.tasks.advance import Advance
from agent.tasks.memory import Memory, Polls
from agent.tasks.perform import Hands
from agent.tasks.slurm_round import SlurmRound
from mltm.contract.ids import JobId, TaskId, parse_task_id
from mltm.contract.journal_records import Author
from mltm.contract.spool_layout import Spool
from mltm.runtime import files
from mltm.runtime.clock import Clock, read_boot_id

__all__ = ["Tick", "TickResult"]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Bell:
    """A bell as it was heard: rung again, its time is another."""

    path: Path
    rung_ns: int


@dataclass(frozen=True)
class TickResult:
    """wake_after_s: when to come again at the latest. problems: sentences that a person can act on."""

    wake_after_s: float
    active: int
    problems: tuple[str, ...] = ()


class Tick:
    """The agent's round. One per process; run() blocks and is called from one thread."""

    def __init__(
        self,
        settings: AgentSettings,
        spool: Spool,
        slurm: SlurmPort,
        outbox: Outbox,
        clock: Clock,
        identity: SpoolIdentity,
    ) -> None:
        author = Author(epoch=identity.epoch, host=socket.gethostname(), pid=os.getpid())
        self._settings, self._spool, self._clock, self._slurm = settings, spool, clock, slurm
        self._hands = Hands(settings, spool, clock, author)
        self._boot_id = read_boot_id()
        self._memory: dict[TaskId, Memory] = {}
        self._polls = Polls()
        self._problems: list[str] = []
        self._intake = Intake(spool, settings, clock, author=author)
        self._drops = Drops(spool, settings, clock)
        self._round = SlurmRound(slurm, self._hands)
        self._advance = Advance(self._hands, outbox, self._boot_id, self._round.read_kill_wait_s)

    def run(self) -> TickResult:
        """Do one round. Raises OSError and SpoolError where the spool as a whole cannot be used."""
        self._problems = []
        now_s = self._clock.boot_s()
        bells = self._hear_bells()
        rung = set(bells.values())
        self._take_in()
        active = [TaskId(name) for name in files.list_names(self._spool.active)]
        for gone in set(self._memory) - set(active):
            del self._memory[gone]
        fresh = self._round.poll(self._memory, self._polls, now_s)
        self._cancel((), is_fresh=fresh)
        self._advance.min_job_age_s = self._round.min_job_age_s
        room = 0 if self._round.has_deferred else self._settings.slurm.sbatch_bucket.burst
        self._advance.begin_round(room)
        failed = {task_id for task_id in active if not self._look_at(task_id, is_fresh=fresh, is_rung=task_id in rung)}
        failed |= {task_id for task_id in rung - set(active) if not self._amend(task_id)}
        self._silence({bell: task_id for bell, task_id in bells.items() if task_id not in failed})
        self._cancel(self._advance.cancels, is_fresh=False)
        for task_id in self._round.submit(self._advance.submissions, self._memory):
            self._look_at(task_id, is_fresh=False, is_rung=True)
        self._problems.extend(self._round.problems)
        is_asking = self._round.due_s(self._memory, self._polls) is not None or self._round.cancels.due_s is not None
        said = (self._polls.problem if is_asking else "", self._round.refusal if active else "")
        self._problems.extend(words for words in said if words)
        return TickResult(self._wake_after_s(), len(active), tuple(dict.fromkeys(self._problems)))

    def _hear_bells(self) -> dict[Bell, TaskId]:
        rung: dict[Bell, TaskId] = {}
        for name in files.list_names(self._spool.bell):
            path = self._spool.bell / name
            try:
                rung[Bell(path, path.stat().st_mtime_ns)] = parse_task_id(name.partition(".")[0])
            except FileNotFoundError:
                continue
            except ValueError:
                self._drop_bell(path)
        return rung

    def _drop_bell(self, path: Path) -> None:
        """Take away what is no bell; what cannot be taken (a folder) stops nobody."""
        try:
            files.remove(path)
            _log.warning("bell_ignored", name=path.name[:80])
        except OSError as error:
            self._problems.append(f"{path} is no bell, and cannot be removed: {error.strerror}.")

    def _silence(self, answered: Iterable[Bell]) -> None:
        """Take bells away after their tasks were looked at: a kill before that leaves them for the next process.

        One that was rung again meanwhile stays.
        """
        for bell in answered:
            with contextlib.suppress(OSError):
                if bell.path.stat().st_mtime_ns == bell.rung_ns:
                    files.remove(bell.path)

    def _take_in(self) -> None:
        try:
            self._problems.extend(self._intake.scan())
            if self._settings.drops:
                self._problems.extend(self._drops.scan())
        except (OSError, SpoolError) as error:
            _log.warning("intake_failed", error=str(error))
            self._problems.append(f"Nothing new can be taken in: {error}")

    def _look_at(self, task_id: TaskId, *, is_fresh: bool, is_rung: bool) -> bool:
        memory = self._memory.setdefault(task_id, Memory())
        try:
            self._advance.look_at(task_id, memory, self._polls, is_fresh=is_fresh, is_rung=is_rung)
        except (OSError, SpoolError) as error:
            memory.names, memory.due_s = (), self._clock.boot_s() + self._settings.waits.poll_soon_s
            _log.warning("task_waits", task_id=task_id, error=str(error))
            self._problems.append(f"Task {task_id} has to wait: {error}")
            return False
        return True

    def _cancel(self, wanted: Sequence[tuple[JobId, str]], *, is_fresh: bool) -> None:
        cancels = self._round.cancels
        try:
            cancels.look(self._polls, is_fresh=is_fresh)
            cancels.send(wanted, self._polls)
        except OSError as error:
            _log.warning("cancels_wait", error=str(error))
            self._problems.append(f"Jobs cannot be cancelled: {error}")

    def _amend(self, task_id: TaskId) -> bool:
        try:
            self._advance.look_again(task_id)
        except (OSError, SpoolError) as error:
            _log.warning("task_not_amended", task_id=task_id, error=str(error))
            self._problems.append(f"The end of task {task_id} cannot be looked at again yet: {error}")
            return False
        return True

    def _wake_after_s(self) -> float:
        now_s, waits = self._clock.boot_s(), self._settings.waits
        due = [memory.due_s - now_s for memory in self._memory.values()]
        if any(memory.is_unclaimed for memory in self._memory.values()) or self._drops.is_watching:
            due.append(waits.glance_s)
        if (poll_s := self._round.due_s(self._memory, self._polls)) is not None:
            due.append(poll_s - now_s)
        if (cancel_s := self._round.cancels.due_s) is not None:
            due.append(cancel_s - now_s)
        if self._round.has_deferred:
            due.append(0.2)
        return min([waits.rescan_s, *(max(0.05, seconds) for seconds in due)])
