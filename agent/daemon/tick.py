"""One round of the agent: take what came in, look at what is active, do what is decided, say what changed.

It decides nothing itself. Its cost grows with the active tasks only, and an idle one makes no Slurm call.
"""

import os
import socket
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import structlog

from agent.daemon.bells import Bells, read_bells, silence_bells
from agent.errors import SpoolError
from agent.intake.bundles import BundleIntake
from agent.intake.drops import DropIntake
from agent.settings import AgentSettings
from agent.slurm.port import SlurmPort
from agent.spool.outbox import Outbox
from agent.spool.setup import SpoolIdentity
from agent.tasks.cancels import Cancels
from agent.tasks.context import TaskContext
from agent.tasks.corrections import Corrections
from agent.tasks.effects import Effects
from agent.tasks.sbatch_calls import SbatchCalls
from agent.tasks.slurm_queue import SlurmQueue
from agent.tasks.state import TaskState
from agent.tasks.turn import apply_answer
from agent.tasks.turn_order import TurnOrder
from agent.tasks.turn_runner import TurnResult, TurnRunner
from mltm.contract.ids import JobId, TaskId
from mltm.contract.journal_records import Author
from mltm.contract.spool_layout import Spool
from mltm.runtime import files
from mltm.runtime.clock import Clock, read_boot_id

__all__ = ["Tick", "TickResult"]

_log = structlog.get_logger(__name__)
_DEFERRED_S = 0.2


@dataclass(frozen=True)
class TickResult:
    """wake_after_s: when to come again at the latest. problems: sentences that a person can act on."""

    wake_after_s: float
    active: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Looks:
    """What came of a round's turns. failed: tasks that have to be looked at again."""

    cancels: tuple[tuple[JobId, str], ...] = ()
    failed: frozenset[TaskId] = frozenset()
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
        *,
        may_open: Callable[[], bool] = lambda: True,
    ) -> None:
        """may_open: asked each round; False: no attempt is opened in it."""
        author = Author(epoch=identity.epoch, host=socket.gethostname(), pid=os.getpid())
        context = TaskContext(settings, spool, outbox, clock, author, read_boot_id())
        self._settings, self._spool, self._clock = settings, spool, clock
        self._states: dict[TaskId, TaskState] = {}
        self._bundles = BundleIntake(spool, settings, clock, author=author)
        self._drops = DropIntake(spool, settings, clock)
        self._order, self._may_open = TurnOrder(), may_open
        self._queue = SlurmQueue(slurm, settings, clock)
        self._cancels = Cancels(slurm, spool, settings, clock)
        self._sbatch_calls = SbatchCalls(slurm, context)
        effects = Effects(context, self._queue.read_kill_wait_s)
        self._advance, self._corrections = TurnRunner(context, effects), Corrections(context, effects)

    def run(self) -> TickResult:
        """Do one round. Raises OSError and SpoolError if the spool as a whole cannot be used."""
        bells = read_bells(self._spool)
        problems = [*bells.problems, *self._take_in()]
        active = self._list_active()
        is_fresh = self._poll()
        problems += self._cancel((), is_fresh=is_fresh)
        looks = self._take_turns(active, bells.rung, is_fresh=is_fresh)
        corrected = self._correct(bells.rung - set(active))
        self._silence(bells, looks.failed | corrected.failed)
        problems += [*looks.problems, *corrected.problems, *self._cancel(looks.cancels, is_fresh=False)]
        answered = self._submit()
        problems += [*self._sbatch_calls.problems, *self._take_turns(answered, answered, is_fresh=False).problems]
        problems += self._say_what_waits(has_active=bool(active))
        return TickResult(self._wake_after_s(), len(active), tuple(dict.fromkeys(problems)))

    def _take_in(self) -> list[str]:
        """Bring in bundles and drops; what is wrong, in words."""
        try:
            problems = self._bundles.scan()
            return [*problems, *self._drops.scan()] if self._settings.drops else problems
        except (OSError, SpoolError) as error:
            _log.warning("intake_failed", error=str(error))
            return [f"Cannot accept new tasks: {error}"]

    def _list_active(self) -> list[TaskId]:
        """The active tasks; what was known of others is forgotten."""
        active = [TaskId(name) for name in files.list_names(self._spool.active)]
        self._states = {task_id: self._states.get(task_id) or TaskState() for task_id in active}
        return active

    def _poll(self) -> bool:
        """Ask squeue if a poll is due; True if there is a new picture."""
        due_s = self._poll_due_s()
        if due_s is None or self._clock.boot_s() < due_s:
            return False
        # What is to be cancelled goes first: the poll leaves it a call.
        is_fresh = self._queue.poll(self._states, spare=0 if self._cancels.due_s is None else 1)
        if not is_fresh:
            self._cancels.put_off()
        return is_fresh

    def _poll_due_s(self) -> float | None:
        due = (self._queue.due_s(self._states.values()), self._cancels.list_due_s(self._queue.snapshot))
        return min((due_s for due_s in due if due_s is not None), default=None)

    def _cancel(self, wanted: Sequence[tuple[JobId, str]], *, is_fresh: bool) -> list[str]:
        """Scancel what is due; what is wrong, in words."""
        try:
            self._cancels.update_leftovers(self._queue.snapshot, is_fresh=is_fresh)
            self._cancels.send(wanted, self._queue.snapshot)
        except OSError as error:
            _log.warning("cancels_wait", error=str(error))
            return [f"Jobs cannot be cancelled: {error}"]
        return []

    def _take_turns(self, tasks: Iterable[TaskId], rung: Collection[TaskId], *, is_fresh: bool) -> _Looks:
        """Let each of these tasks take its turn."""
        cancels: list[tuple[JobId, str]] = []
        problems: dict[TaskId, str] = {}
        is_held = self._sbatch_calls.has_deferred or not self._may_open()
        room = 0 if is_held else self._settings.slurm.sbatch_bucket.burst
        for task_id in self._order.arrange({task_id: self._states[task_id].owner for task_id in tasks}):
            result = self._take_turn(task_id, is_fresh=is_fresh, is_rung=task_id in rung, may_open=room > 0)
            self._states[task_id] = result.state
            cancels += result.cancels
            if result.has_opened:
                room -= 1
                self._order.note_opened(result.state.owner)
            if result.problem:
                problems[task_id] = result.problem
        return _Looks(tuple(cancels), frozenset(problems), tuple(problems.values()))

    def _take_turn(self, task_id: TaskId, *, is_fresh: bool, is_rung: bool, may_open: bool) -> TurnResult:
        """What nobody expected of one task is that task's alone: it is read anew, and soon."""
        try:
            return self._advance.take_turn(
                task_id, self._states[task_id], self._queue.snapshot,
                is_fresh=is_fresh, is_rung=is_rung, may_open=may_open,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001 - the one place for a task's
            _log.exception("turn_failed", task_id=task_id)
            again = TaskState(due_s=self._clock.boot_s() + self._settings.waits.poll_soon_s)
            message = f"Task {task_id} could not be looked at and will be retried: {type(error).__name__}: {error}"
            return TurnResult(again, problem=message)

    def _correct(self, ended: Iterable[TaskId]) -> _Looks:
        """Look once more at ended tasks that have news."""
        problems: dict[TaskId, str] = {}
        for task_id in ended:
            try:
                self._corrections.look_again(task_id)
            except (OSError, SpoolError) as error:
                _log.warning("task_not_amended", task_id=task_id, error=str(error))
                problems[task_id] = f"The end of task {task_id} cannot be looked at again yet: {error}"
        return _Looks((), frozenset(problems), tuple(problems.values()))

    def _silence(self, bells: Bells, failed: Collection[TaskId]) -> None:
        silence_bells(bell for bell in bells.heard if bell.task_id not in failed)

    def _submit(self) -> list[TaskId]:
        """Call sbatch for what waits for it; the tasks whose answer is on disk."""
        wanted = {task_id: state.submission for task_id, state in self._states.items() if state.submission}
        answered = []
        for task_id, answer in self._sbatch_calls.send(wanted, self._states):
            if task_id in self._states:
                now_s, waits = self._clock.boot_s(), self._settings.waits
                self._states[task_id] = apply_answer(self._states[task_id], answer, waits, now_s)
                answered.append(task_id)
        return answered

    def _say_what_waits(self, *, has_active: bool) -> list[str]:
        """Slurm's own troubles, while anything waits for Slurm."""
        is_asking = self._poll_due_s() is not None or self._cancels.due_s is not None
        said = (self._queue.snapshot.problem if is_asking else "", self._sbatch_calls.refusal if has_active else "")
        return [message for message in said if message]

    def _wake_after_s(self) -> float:
        now_s, waits = self._clock.boot_s(), self._settings.waits
        due = [state.due_s - now_s for state in self._states.values()]
        if any(state.is_unclaimed for state in self._states.values()) or self._drops.is_watching:
            due.append(waits.glance_s)
        due += [due_s - now_s for due_s in (self._poll_due_s(), self._cancels.due_s) if due_s is not None]
        if self._sbatch_calls.has_deferred:
            due.append(_DEFERRED_S)
        return min([waits.rescan_s, *(max(0.05, seconds) for seconds in due)])
