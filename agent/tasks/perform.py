"""Does what decide() chose: one step, one effect. Every effect may be repeated, or lost to somebody who was first."""

from dataclasses import dataclass

import structlog

from agent.job.launch import Launch, Refusal, plan_launch, write_launch
from agent.protocol.actions import Adopt, Amend, Close, OpenAttempt, PutFence, PutNote
from agent.settings import AgentSettings
from agent.slurm.values import Submission
from agent.spool.records import link_claim, link_intent, link_note, write_submitted
from mltm.contract.ids import TaskId
from mltm.contract.journal_records import (
    Amended,
    Author,
    Closed,
    Fence,
    FenceReason,
    Submit,
    Submitted,
    render_record,
)
from mltm.contract.spool_layout import Spool
from mltm.contract.task_config import TaskConfig
from mltm.runtime import files
from mltm.runtime.clock import Clock

__all__ = ["Hands", "Record", "plan_attempt", "put_record", "record_submission"]

_log = structlog.get_logger(__name__)
Record = OpenAttempt | PutFence | PutNote | Close | Adopt | Amend


@dataclass(frozen=True)
class Hands:
    """What a step needs to be done."""

    settings: AgentSettings
    spool: Spool
    clock: Clock
    author: Author


def put_record(step: Record, task_id: TaskId, hands: Hands) -> bool:
    """Write the record of a step; True where this process's own stands there now. Raises OSError, SpoolError."""
    folder, clock = hands.spool.task(task_id), hands.clock
    match step:
        case OpenAttempt(number, after, after_state):
            nonce = clock.nonce()
            opened = Submit(
                nonce=nonce, attempt=number, author=hands.author, at=clock.now(), after=after, after_state=after_state
            )
            return link_intent(folder.attempt(number), opened) == opened
        case Close(number, verdict):
            closed = Closed(nonce=clock.nonce(), attempt=number, author=hands.author, at=clock.now(), verdict=verdict)
            is_ours = link_intent(folder.attempt(number), closed) == closed
            _log.info("task_closed", task_id=task_id, state=verdict.state, reason=verdict.reason, won=is_ours)
            return is_ours
        case PutFence(number, reason, words):
            return _put_fence(task_id, number, reason, words, hands)
        case PutNote(number, claim):
            link_note(folder.attempt(number), claim, clock)
            return True
        case Adopt(number, job_id):
            found = Submitted(job_id=job_id, outcome="accepted", words="found by its name", at=clock.now())
            write_submitted(folder.attempt(number), found, clock)
            return True
        case Amend(verdict):
            files.link_once(folder.amended, render_record(Amended(verdict=verdict, at=clock.now())), clock.nonce())
            _log.warning("task_amended", task_id=task_id, state=verdict.state)
            return True


def _put_fence(task_id: TaskId, number: int, reason: FenceReason, words: str, hands: Hands) -> bool:
    clock = hands.clock
    fence = Fence(nonce=clock.nonce(), reason=reason, words=words, author=hands.author, at=clock.now())
    decided = link_claim(hands.spool.task(task_id).attempt(number), fence)
    is_ours = decided == fence
    _log.info("attempt_fenced", task_id=task_id, attempt=number, reason=reason, won=is_ours)
    return is_ours


def plan_attempt(
    config: TaskConfig, task_id: TaskId, number: int, hands: Hands, *, kill_wait_s: float
) -> Launch | Refusal:
    """Plan an attempt and write what the wrapper is to run; `kill_wait_s` goes before the config's. Raises OSError."""
    folder = hands.spool.task(task_id)
    slurm = hands.settings.slurm.model_copy(update={"kill_wait_s": kill_wait_s})
    planned = plan_launch(config, folder, number, hands.settings.model_copy(update={"slurm": slurm}))
    if isinstance(planned, Launch):
        write_launch(planned, folder, number, hands.clock.nonce())
    return planned


def record_submission(answer: Submission, task_id: TaskId, number: int, hands: Hands) -> None:
    """Write down Slurm's answer to an sbatch."""
    record = Submitted(job_id=answer.job_id, outcome=answer.outcome, words=answer.words[:4000], at=hands.clock.now())
    write_submitted(hands.spool.task(task_id).attempt(number), record, hands.clock)
    _log.info("job_submitted" if answer.outcome == "accepted" else "sbatch_answered", task_id=task_id, attempt=number,
              outcome=answer.outcome, job_id=answer.job_id)  # fmt: skip
