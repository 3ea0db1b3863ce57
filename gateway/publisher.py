"""Brings bundles into the spools, and clears away what an agent has taken. Every instant may be its last one.

A bundle is built in in/tmp, synced, and renamed to in/new: the agent sees it whole or not at all. Doing it again
gives the same names and bytes. A spool that is away or full is tried again, and shown in /healthz.
"""

import asyncio
import contextlib
import os
import shutil
from pathlib import Path

import structlog

from gateway.clock import Clock
from gateway.errors import UnavailableError
from gateway.intake import files_folder
from gateway.settings import GatewaySettings
from gateway.store import outbox
from gateway.store.database import Database
from gateway.store.outbox import Errand
from gateway.wake import Wake, wait_for
from mltm.contract.ids import TaskId
from mltm.contract.names import CONFIG_FILE, GONE_SUFFIX, MANIFEST, Spool
from mltm.contract.shape import render_canonical

__all__ = ["Publisher", "publish_bundle", "remove_taken"]

_log = structlog.get_logger(__name__)
_REPUBLISH_S = 600.0
# Files and folders of a bundle: readable for the agent's group.
_FILE_MODE, _FOLDER_MODE = 0o640, 0o2750


class Publisher:
    """Runs errands until it is stopped."""

    def __init__(self, database: Database, settings: GatewaySettings, clock: Clock, wake: Wake) -> None:
        self._database, self._settings, self._clock, self._wake = database, settings, clock, wake
        self.problem = ""

    async def run(self) -> None:
        """Run errands as they come; what failed is tried again every `publish_interval_s`."""
        checked_s = float("-inf")
        with self._wake.listen("publisher") as came:
            while True:
                try:
                    if self._clock.monotonic() >= checked_s + _REPUBLISH_S:
                        checked_s = self._clock.monotonic()
                        await self.republish()
                    is_moving = await self.run_once()
                except UnavailableError as error:  # a busy or full database: what was done is done again
                    self.problem, is_moving = str(error), False
                    _log.warning("publisher_waits", error=str(error))
                if not is_moving:
                    await wait_for(came, self._settings.publish_interval_s)

    async def republish(self) -> None:
        """Publish again what is marked as published and is gone from in/new: only we remove entries, once taken.

        The agent knows a task that it has already, or had: a second bundle of one is harmless.
        """
        for errand in await self._database.read(outbox.list_published, self._settings.name):
            try:
                again = await asyncio.to_thread(_publish_missing, errand, self._settings)
            except OSError as error:
                _log.warning("publish_failed", task_id=errand.task_id, error=str(error))
                continue
            if again:
                _log.warning("task_published_again", task_id=errand.task_id)

    async def run_once(self) -> bool:
        """Run what is due; True where something moved on, so that more may be due."""
        errands = await self._database.read(outbox.list_errands, self._settings.name)
        self.problem = ""
        moved = False
        for errand in errands:
            try:
                await asyncio.to_thread(_run, errand, self._settings)
            except OSError as error:
                self.problem = f"Spool {errand.spool}: {error.strerror} ({error.filename}); tasks wait for it."
                _log.warning("publish_failed", task_id=errand.task_id, error=str(error))
                continue
            after = "published" if errand.step == "waiting" else None
            await self._database.call(outbox.mark, errand.task_id, errand.step, after, self._clock.now())
            _log.info("task_published" if after else "task_cleared", task_id=errand.task_id)
            moved = True
        return moved


def _run(errand: Errand, settings: GatewaySettings) -> None:
    if errand.spool is None:
        return
    spool, source = Spool(Path(errand.spool)), files_folder(settings, errand.task_id)
    if errand.step == "waiting":
        publish_bundle(errand, source, spool)
    else:
        remove_taken(errand.task_id, spool)
        shutil.rmtree(source, ignore_errors=True)


def _publish_missing(errand: Errand, settings: GatewaySettings) -> bool:
    if errand.spool is None or Spool(Path(errand.spool)).bundle(TaskId(errand.task_id)).exists():
        return False
    publish_bundle(errand, files_folder(settings, errand.task_id), Spool(Path(errand.spool)))
    return True


def publish_bundle(errand: Errand, source: Path, spool: Spool) -> None:
    """Build a task's bundle and rename it into in/new; there already: nothing to do. Raises OSError."""
    task_id = TaskId(errand.task_id)
    target, building = spool.bundle(task_id), spool.incoming_tmp / task_id
    if target.exists():
        _sync(spool.incoming)  # whoever renamed it may have died before this
        return
    for folder in (spool.incoming_tmp, spool.incoming):
        folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    shutil.rmtree(building, ignore_errors=True)
    (building / "files").mkdir(parents=True, mode=_FOLDER_MODE)
    building.chmod(_FOLDER_MODE)
    for file in errand.manifest.files:
        _write(building / "files" / file.name, (source / file.name).read_bytes())
    _write(building / CONFIG_FILE, render_canonical(errand.manifest.config))
    _write(building / MANIFEST, render_canonical(errand.manifest.model_dump(mode="json")))
    _sync(building / "files")
    _sync(building)
    building.rename(target)
    _sync(spool.incoming)


def remove_taken(task_id: str, spool: Spool) -> None:
    """Take an entry out of in/new by one rename, then delete it. Raises OSError."""
    gone = spool.incoming_tmp / f"{task_id}{GONE_SUFFIX}"
    with contextlib.suppress(FileNotFoundError):
        spool.bundle(TaskId(task_id)).rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
