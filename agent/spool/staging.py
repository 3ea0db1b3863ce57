"""tasks/.staging: a task's folder is made there, and comes to tasks/ (or goes away) by one rename.

So that nobody ever finds half a task, whoever is killed. Another agent may be making the same task right now: its
rename loses against the task that is there.
"""

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from agent.spool.tombstones import has_tombstone
from mltm.contract.ids import TaskId, parse_task_id
from mltm.contract.spool_layout import Spool
from mltm.runtime import files
from mltm.runtime.clock import Clock

__all__ = ["StagedTask", "discard_folder", "make_staged_task", "publish_task", "sweep_staging"]


@dataclass(frozen=True)
class StagedTask:
    """A folder in tasks/.staging that will be tasks/<task>."""

    path: Path

    @property
    def control(self) -> Path:
        """The folder of the task's journal."""
        return self.path / "control"

    @property
    def input(self) -> Path:
        """The folder of the user's files."""
        return self.path / "input"


def make_staged_task(spool: Spool, task_id: TaskId, nonce: str) -> StagedTask:
    """Make the folders of a task: `control` first, so that the folder is never empty. Raises OSError."""
    staged = StagedTask(spool.staging / f"{task_id}.{nonce}")
    staged.path.mkdir(mode=0o755)
    for folder in spool.task(task_id).folders:
        (staged.path / folder.name).mkdir(mode=0o700 if folder.name == "control" else 0o755)
    return staged


def publish_task(spool: Spool, task_id: TaskId, staged: StagedTask) -> bool:
    """Put a finished folder in place; False if somebody's folder is there. Raises OSError.

    The marker comes first: without one, nobody would read the task, and it would be lost. A marker without a task does
    no harm.
    """
    for folder in (staged.input, staged.control, staged.path):
        files.sync_folder(folder)
    files.replace(spool.active / task_id, b"", staged.path.name.rpartition(".")[2], 0o600)
    return files.move(staged.path, spool.tasks / task_id)


def discard_folder(spool: Spool, path: Path, nonce: str) -> None:
    """Remove a folder: renamed first, so that nobody can publish or find half of it. Raises OSError."""
    away = spool.staging / f".gone.{nonce}"
    with contextlib.suppress(FileNotFoundError):
        path.rename(away)
        shutil.rmtree(away)


def sweep_staging(spool: Spool, clock: Clock) -> None:
    """Remove what killed agents left. The copy of a task that is not in place may still be needed. Raises OSError."""
    for name in files.list_names(spool.staging):
        try:
            task_id = parse_task_id(name.partition(".")[0])
        except ValueError:
            continue
        if spool.task(task_id).manifest.exists() or has_tombstone(spool, task_id):
            discard_folder(spool, spool.staging / name, clock.nonce())
    for name in os.listdir(spool.staging):  # noqa: PTH208 - with the hidden names, which list_names leaves out
        if name.startswith(".gone."):
            shutil.rmtree(spool.staging / name, ignore_errors=True)
