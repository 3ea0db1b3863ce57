"""Builds log records and observations for tests of decisions."""

from datetime import UTC, datetime
from typing import Any

from agent.protocol.journal import AttemptJournal, TaskJournal
from agent.protocol.observation import Observation
from mltm.contract.ids import TaskId
from mltm.contract.journal_records import Author, Closed, Command, Exit, Fence, FenceReason, JobClaim, Submit, Verdict
from mltm.contract.states import State
from mltm.contract.task_config import TaskConfig
from tests.mltm.contract.test_task_config import SEED

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TASK = TaskId("0190a0b0c0d07e0f8a0b0c0d0e0f0a0b")
AUTHOR = Author(epoch=1, host="login", pid=1)
NONCE = "a" * 32


def config(**fields: object) -> TaskConfig:
    return TaskConfig.model_validate({**SEED, **fields})


def submit(number: int, after_state: State | None = None, *, after_exit: bool = False) -> Submit:
    return Submit(nonce=NONCE, attempt=number, author=AUTHOR, at=NOW, after_state=after_state, after_exit=after_exit)


def claim(job_id: str = "7") -> JobClaim:
    return JobClaim(nonce=NONCE, job_id=job_id, node="n1", boot_id="b", pid=9, at=NOW)


def fence(reason: FenceReason = "unknown", message: str = "") -> Fence:
    return Fence(nonce=NONCE, reason=reason, message=message, author=AUTHOR, at=NOW)


def exit_record(code: int = 0, **fields: object) -> Exit:
    known = {
        "nonce": NONCE, "job_id": "7", "node": "n1", "boot_id": "b", "code": code,
        "started_at": NOW, "ended_at": NOW, "elapsed_s": 60.0,
    }  # fmt: skip
    return Exit.model_validate({**known, **fields})


def closed(number: int, state: State, evidence: str = "claim") -> Closed:
    verdict = Verdict(state=state, evidence=evidence)
    return Closed(nonce=NONCE, attempt=number, author=AUTHOR, at=NOW, verdict=verdict)


def cancel() -> Command:
    return Command(kind="cancel", command_id="c", at=NOW)


def task_journal(*attempts: AttemptJournal, **fields: Any) -> TaskJournal:
    return TaskJournal(TASK, attempts, **fields)


def observation(attempt: int = 1, **fields: Any) -> Observation:
    return Observation(**{"boot_id": "b", "attempt": attempt, "since_s": 0.0, **fields})
