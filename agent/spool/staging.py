"""Clears what killed agents left in tasks/.staging: copies of tasks that are in place, and folders on their way out.

Another agent may be building one of them right now: its rename would lose against the task that is there anyway.
"""

import os
import shutil

from agent.intake.private_copy import discard
from agent.spool.tombstones import has_tombstone
from mltm.contract.ids import parse_task_id
from mltm.contract.spool_layout import Spool
from mltm.runtime import files
from mltm.runtime.clock import Clock

__all__ = ["sweep_staging"]


def sweep_staging(spool: Spool, clock: Clock) -> None:
    """Remove leftovers whose task is settled; a copy of one that is not may still be needed. Raises OSError."""
    for name in files.list_names(spool.staging):
        try:
            task_id = parse_task_id(name.partition(".")[0])
        except ValueError:
            continue
        if spool.task(task_id).manifest.exists() or has_tombstone(spool, task_id):
            discard(spool, spool.staging / name, clock.nonce())
    for name in os.listdir(spool.staging):  # noqa: PTH208 - with the hidden names, which list_names leaves out
        if name.startswith(".gone."):
            shutil.rmtree(spool.staging / name, ignore_errors=True)
