"""Tells what became of a task, keeps what was seen, and buries it when its log is closed."""

import errno
import hashlib

import structlog

from agent.protocol.journal import TaskLog
from agent.protocol.observation import Observation
from agent.protocol.task_report import describe_amended, describe_late_exit, describe_task
from agent.slurm.values import JobLine
from agent.spool.outbox import Outbox, ReportDraft
from agent.spool.receipts import update_receipt
from agent.spool.tombstones import read_tombstone, retire, write_tombstone
from agent.tasks.memory import Memory, forget_observation, save_observation
from agent.tasks.perform import Hands
from mltm.contract.states import Evidence

__all__ = ["settle", "tell_correction", "tell_late_exits"]

_MAY_PASS = frozenset({errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE})
_log = structlog.get_logger(__name__)


def settle(
    log: TaskLog, memory: Memory, lines: tuple[JobLine, ...], before: Observation | None, hands: Hands, outbox: Outbox
) -> None:
    """Report what changed, keep what was seen; where the log is closed, bury the task. Raises OSError, SpoolError."""
    tell_late_exits(log, memory, outbox)
    if memory.observation is None:
        return
    draft = describe_task(log, memory.observation, lines)
    digest = hashlib.sha256(draft.model_dump_json(exclude={"at"}).encode()).hexdigest()
    if digest != memory.observation.reported:
        outbox.put(draft)
        memory.note(reported=digest, last_report=_render(draft))
        _log.info("task_reported", task_id=log.task_id, state=draft.state, attempt=draft.attempt)
    if digest != memory.receipted and _put_receipt(log, draft, hands, is_last=log.closed is not None):
        memory.receipted = digest
    if log.closed is not None:
        write_tombstone(hands.spool, log.task_id, _render(draft), hands.clock)
        retire(hands.spool, log.task_id)
        forget_observation(hands.spool, log.task_id)
    elif memory.observation != before and not _is_same_but_for_the_beat(before, memory.observation):
        save_observation(hands.spool, log.task_id, memory.observation, hands.clock)


def _is_same_but_for_the_beat(before: Observation | None, after: Observation) -> bool:
    """True where nothing is to be kept: a beat that goes on is seen again by a new process, which counts from there.

    Once Slurm shows an end, or lists the job no more, rule 5 counts, and every change of the beat is kept.
    """
    beat = {"beat_ns": after.beat_ns, "beat_since_s": after.beat_since_s}
    return before is not None and after.ended is None and before.model_copy(update=beat) == after


def tell_late_exits(log: TaskLog, memory: Memory, outbox: Outbox) -> None:
    """Tell, as a note in the history, of exit records that came after the next attempt (rule 7)."""
    told = memory.observation.late_told if memory.observation else ()
    for attempt, record in log.late_exits:
        if attempt.number not in told:
            outbox.put(describe_late_exit(log, attempt, record))
            told = (*told, attempt.number)
            memory.note(late_told=told)


def tell_correction(log: TaskLog, hands: Hands, outbox: Outbox) -> None:
    """Tell that an end was corrected. Raises OSError, SpoolError.

    The tombstone comes last: while it does not say `amended`, the correction has perhaps not been told.
    """
    if log.closed is None or log.amended is None:
        return
    told = read_tombstone(hands.spool, log.task_id)
    if told is None or told.evidence is not Evidence.AMENDED:
        draft = describe_amended(log, log.amended.verdict)
        outbox.put(draft)
        _put_receipt(log, draft, hands, is_last=False)
        write_tombstone(hands.spool, log.task_id, _render(draft), hands.clock)


def _put_receipt(log: TaskLog, draft: ReportDraft, hands: Hands, *, is_last: bool) -> bool:
    """Write the receipt; False where it has to be tried again.

    It decides nothing: where none can be written (a folder has its name), the task goes on without. But nobody would
    ever write the last one again: what may pass by itself is raised then, as an OSError, and the task stays active.
    """
    try:
        update_receipt(hands.spool, log.task_id, draft, hands.clock)
    except OSError as error:
        may_pass = error.errno in _MAY_PASS
        if may_pass and is_last:
            raise
        _log.warning("receipt_not_written", task_id=log.task_id, error=str(error))
        return not may_pass
    return True


def _render(draft: ReportDraft) -> str:
    return draft.model_dump_json(exclude_defaults=True)
