"""What may befall a task on the shared folder: a bundle that rots, a command that is early, an exit that is late."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from agent.spool.commands import record_command
from chaos.ledger import read_starts
from chaos.product.house import ChaosHouse
from lab.processes import read_proc_file
from mltm.contract.agent_api import CommandMessage
from mltm.contract.ids import TaskId
from mltm.contract.journal_records import Exit, JobClaim, render_record
from mltm.contract.spool_layout import Spool
from mltm.runtime import files
from mltm.runtime.clock import Clock

__all__ = ["Follower", "forestall", "is_end_unwritten", "kill_and_write_exit", "spoil_bundle"]

_PUBLISHED_WITHIN_S = 10.0


class Follower(Protocol):
    """What is needed of a stream to follow a task."""

    house: ChaosHouse
    ledger: Path

    def allow(self, task_id: str, *ends: str) -> None:
        """The task may end like this, too."""

    def wait(self, task_id: str, holds: Callable[[Mapping[str, object]], object]) -> bool:
        """Wait until something holds of what a user is shown."""


def spoil_bundle(root: Path, task_id: str) -> None:
    """Once a bundle is published, change a byte of its script in place; too late if an agent has copied it."""
    script = Spool(root).inbox.bundle(TaskId(task_id)) / "files" / "entrypoint.py"
    if _wait(script.exists):
        with contextlib.suppress(FileNotFoundError), script.open("r+b") as file:
            file.write(b"#")


def forestall(root: Path, task_id: str) -> None:
    """Record a cancel as another agent on the spool does, before the bundle is copied: its folder is there first."""
    spool = Spool(root)
    _wait(spool.inbox.bundle(TaskId(task_id)).exists)
    message = CommandMessage(command_id=uuid4().hex, kind="cancel", task_id=task_id, by="chaos")
    record_command(spool, message, Clock())


def kill_and_write_exit(stream: Follower, task_id: str) -> None:
    """Kill a running task's wrapper; after the task was called lost, let its exit record become visible (rule 7)."""
    is_started = stream.wait(task_id, lambda shown: shown["final"] or read_starts(stream.ledger)[task_id])
    claim = _read_claim(stream.house.spool, task_id)
    if not is_started or claim is None or not read_starts(stream.ledger)[task_id]:
        stream.allow(task_id, "lost", "node_fail")
        return
    if task_id.encode() in read_proc_file(claim.pid, "cmdline").split(b"\0"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(claim.pid, signal.SIGKILL)
    stream.wait(task_id, lambda shown: bool(shown["final"]))
    _write_exit(Spool(stream.house.spool), task_id, claim)
    stream.wait(task_id, lambda shown: shown["state"] == "failed")


def is_end_unwritten(root: Path, task_id: str) -> bool:
    """True if a job owns the task's last attempt and left no exit record: if it dies, nobody knows its end."""
    control = Spool(root).task(TaskId(task_id)).control
    exit_path = Spool(root).task(TaskId(task_id)).attempt(_last_attempt(control)).exit
    return _read_claim(root, task_id) is not None and not exit_path.exists()


def _write_exit(spool: Spool, task_id: str, claim: JobClaim) -> None:
    record = Exit(
        nonce=claim.nonce, job_id=claim.job_id, node=claim.node, boot_id=claim.boot_id, code=3, started_at=claim.at,
        ended_at=datetime.now(UTC), elapsed_s=1.0,
    )  # fmt: skip
    folder, nonce = spool.task(TaskId(task_id)), uuid4().hex
    files.link_once(folder.attempt(_last_attempt(folder.control)).exit, render_record(record), nonce)
    (spool.bell / task_id).touch()


def _read_claim(root: Path, task_id: str) -> JobClaim | None:
    folder = Spool(root).task(TaskId(task_id))
    try:
        raw = folder.attempt(_last_attempt(folder.control)).claim.read_bytes()
        return JobClaim.model_validate_json(raw)
    except (OSError, ValueError):
        return None


def _last_attempt(control: Path) -> int:
    return max((int(path.name.rpartition(".")[2]) for path in control.glob("claim.*")), default=1)


def _wait(holds: Callable[[], bool]) -> bool:
    until_s = time.monotonic() + _PUBLISHED_WITHIN_S
    while not holds():
        if time.monotonic() > until_s:
            return False
        time.sleep(0.02)
    return True
