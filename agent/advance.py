"""Brings one task forward: read, observe, decide, perform, until there is nothing to do now; then report."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import structlog

from agent import files
from agent.decide import Seen, decide
from agent.errors import SpoolError
from agent.job.launch import Refusal, plan_launch
from agent.memory import Memory, Polls, carry_told, forget_observation, load_observation, save_observation
from agent.observe import Look, Observation, apply_accounting, look
from agent.outbox import Outbox, ReportDraft
from agent.perform import Hands, plan_attempt, put_record
from agent.receipts import update_receipt
from agent.records import name_deciding, read_task_log, sync_found
from agent.slurm.request import SubmitRequest
from agent.standing import describe_amended, describe_late_exit, describe_task
from agent.steps import Amend, CallSbatch, CancelJobs, OpenAttempt, PutFence, Step, Wait
from agent.tasklog import TaskLog
from agent.tombstones import has_tombstone, read_tombstone, retire, write_tombstone
from mltm.contract.ids import JobId, TaskId, render_job_name
from mltm.contract.parse_config import ConfigError, parse_config
from mltm.contract.shape import render_canonical
from mltm.contract.states import Evidence

__all__ = ["Advance"]

_log = structlog.get_logger(__name__)
_MOST_STEPS = 12
_SOON_S = 0.5


class Advance:
    """Brings tasks forward; collects what the round asks of Slurm, so that it asks once for all of them."""

    def __init__(self, hands: Hands, outbox: Outbox, boot_id: str) -> None:
        self._hands, self._outbox, self._boot_id = hands, outbox, boot_id
        self.min_job_age_s = 300.0
        self.cancels: list[tuple[JobId, str]] = []
        self.submissions: dict[TaskId, tuple[int, SubmitRequest]] = {}
        self._room = 0

    def begin_round(self, room: int) -> None:
        """Forget what the last round asked of Slurm. `room`: how many attempts may be opened in this one."""
        self.cancels, self.submissions, self._room = [], {}, room

    def look_at(self, task_id: TaskId, memory: Memory, polls: Polls, *, is_fresh: bool, is_rung: bool) -> None:
        """Bring one active task forward. Raises OSError, SpoolError: nothing is lost, it is looked at again."""
        now_s = self._hands.clock.boot_s()
        names = self._list(task_id)
        if names == memory.names and now_s < memory.due_s and not is_rung and not is_fresh:
            return
        log = self._read(task_id, names, memory, now_s)
        if not log.attempts and log.closed is None and has_tombstone(self._hands.spool, task_id):
            retire(self._hands.spool, task_id)  # a copy of a task that ended, or a cancel that came after its end
            return
        before = memory.observation
        if memory.observation is not None and log.last is not None and log.closed is None:
            self._look(log, memory, polls, is_fresh=is_fresh, now_s=now_s)
        for _ in range(_MOST_STEPS):
            step = decide(log, self._seen(log, memory, polls, now_s), self._hands.settings.waits)
            if isinstance(step, Wait):
                memory.due_s, memory.needs_poll = step.due_s, step.needs_poll
                break
            if not self._perform(step, log, memory, now_s):
                memory.due_s = now_s + _SOON_S
                break
            names = self._list(task_id)
            log = self._read(task_id, names, memory, now_s)
        memory.names = names
        self._settle(log, memory, polls, before)

    def look_again(self, task_id: TaskId) -> None:
        """Look at a task that has ended: a late exit record may correct it, once (rule 7). Raises OSError, SpoolError.

        The tombstone comes last: while it does not say `amended`, the correction has perhaps not been told.
        """
        memory, now_s, spool = Memory(), self._hands.clock.boot_s(), self._hands.spool
        log = self._read(task_id, self._list(task_id), memory, now_s)
        step = decide(log, self._seen(log, memory, Polls(), now_s), self._hands.settings.waits)
        if isinstance(step, Amend):
            put_record(step, task_id, self._hands)
            log = self._read(task_id, self._list(task_id), memory, now_s)
        if log.closed is None or log.amended is None:
            return
        told = read_tombstone(spool, task_id)
        if told is None or told.evidence is not Evidence.AMENDED:
            draft = describe_amended(log, log.amended.verdict)
            self._outbox.put(draft)
            update_receipt(spool, task_id, draft, self._hands.clock)
            write_tombstone(spool, task_id, draft.model_dump_json(exclude_defaults=True), self._hands.clock)

    def _list(self, task_id: TaskId) -> tuple[str, ...]:
        return tuple(files.list_names(self._hands.spool.task(task_id).control))

    def _read(self, task_id: TaskId, names: Sequence[str], memory: Memory, now_s: float) -> TaskLog:
        spool = self._hands.spool
        log = read_task_log(spool, task_id, names)
        if (deciding := name_deciding(log)) != memory.synced:
            sync_found(spool, log, is_first=not memory.synced)
            memory.synced = deciding
        number = log.last.number if log.last else 0
        if memory.observation is None or memory.observation.attempt != number:
            kept = memory.observation
            memory.observation = load_observation(spool, self._boot_id, task_id, number, now_s)
            if kept is not None:
                memory.observation = carry_told(kept, memory.observation)
        if memory.config is None and memory.refusal is None and log.manifest is not None:
            self._read_config(log, memory)
        memory.is_submitted = bool(log.attempts) and log.closed is None
        memory.is_unclaimed = memory.is_submitted and log.last is not None and log.last.owner is None
        return log

    def _read_config(self, log: TaskLog, memory: Memory) -> None:
        manifest = log.manifest
        try:
            memory.config = parse_config(render_canonical(manifest.config)) if manifest else None
        except ConfigError as error:
            memory.refusal = f"The config cannot be used: {error}"

    def _look(self, log: TaskLog, memory: Memory, polls: Polls, *, is_fresh: bool, now_s: float) -> None:
        last, before = log.last, memory.observation
        if last is None or before is None:
            return
        name = render_job_name(log.task_id, last.number)
        # A poll that began before this attempt was first looked at says nothing about it.
        counts = is_fresh and before.since_s < polls.last_s
        lines = polls.lines.get(name, ()) if counts else None
        beat_ns = _read_mtime(self._hands.spool.task(log.task_id).attempt(last.number).beat)
        waits = self._hands.settings.waits
        after = look(before, last, Look(lines, beat_ns, now_s), waits, self.min_job_age_s)
        memory.observation = apply_accounting(after, last, polls.ended.get(name, ()))

    def _seen(self, log: TaskLog, memory: Memory, polls: Polls, now_s: float) -> Seen:
        observation = memory.observation
        if observation is None:
            raise SpoolError(f"Task {log.task_id} was decided on before it was looked at.")
        number = log.last.number if log.last else 0
        return Seen(
            observation=observation,
            now_s=now_s,
            lines=polls.lines.get(render_job_name(log.task_id, number), ()),
            may_submit=number > 0 and memory.may_submit == number,
            refusal=memory.refusal,
            config=memory.config,
        )

    def _perform(self, step: Step, log: TaskLog, memory: Memory, now_s: float) -> bool:
        """Do a step; True where the log should be read again at once."""
        match step:
            case OpenAttempt(number):
                return self._open(step, number, log, memory)
            case CallSbatch(number):
                return self._plan(log, number, memory)
            case CancelJobs(jobs):
                self.cancels.extend((JobId(job_id), name) for job_id, name in jobs)
                self._update(memory, scancel_at_s=now_s)
                return True
            case PutFence(number, _, _, lines):
                if put_record(step, log.task_id, self._hands):
                    name = render_job_name(log.task_id, number)
                    self.cancels.extend((line.job_id, name) for line in lines)
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
        planned = plan_attempt(memory.config, log.task_id, number, self._hands) if memory.config else None
        if isinstance(planned, Refusal):
            put_record(PutFence(number, "refused_by_policy", planned.words), log.task_id, self._hands)
            return True
        if planned is not None:
            self.submissions[log.task_id] = (number, planned.request)
        return False

    @staticmethod
    def _update(memory: Memory, **fields: object) -> None:
        if memory.observation is not None:
            memory.observation = memory.observation.model_copy(update=fields)

    def _settle(self, log: TaskLog, memory: Memory, polls: Polls, before: Observation | None) -> None:
        """Report what changed, keep what was seen; where the log is closed, bury the task."""
        number = log.last.number if log.last else 0
        self._tell_late_exits(log, memory)
        seen = memory.observation
        if seen is None:
            return
        draft = describe_task(log, seen, polls.lines.get(render_job_name(log.task_id, number), ()))
        digest = hashlib.sha256(draft.model_dump_json(exclude={"at"}).encode()).hexdigest()
        if digest != seen.reported:
            self._outbox.put(draft)
            update_receipt(self._hands.spool, log.task_id, draft, self._hands.clock)
            self._update(memory, reported=digest, last_report=draft.model_dump_json(exclude_defaults=True))
            _log.info("task_reported", task_id=log.task_id, state=draft.state, attempt=draft.attempt)
        if log.closed is not None:
            self._bury(log, draft)
        elif memory.observation is not None and memory.observation != before:
            save_observation(self._hands.spool, log.task_id, memory.observation, self._hands.clock)

    def _tell_late_exits(self, log: TaskLog, memory: Memory) -> None:
        """Tell, as a note in the history, of exit records that came after the next attempt (rule 7)."""
        told = memory.observation.late_told if memory.observation else ()
        for attempt, record in log.late_exits:
            if attempt.number not in told:
                self._outbox.put(describe_late_exit(log, attempt, record))
                told = (*told, attempt.number)
                self._update(memory, late_told=told)

    def _bury(self, log: TaskLog, draft: ReportDraft) -> None:
        spool, clock = self._hands.spool, self._hands.clock
        write_tombstone(spool, log.task_id, draft.model_dump_json(exclude_defaults=True), clock)
        retire(spool, log.task_id)
        forget_observation(spool, log.task_id)


def _read_mtime(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
