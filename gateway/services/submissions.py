"""How a submission becomes a task: files in place, then one transaction, then the answer."""

import asyncio
import hashlib
import shutil
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path

from gateway.errors import DiskFullError
from gateway.services.disk import on_disk
from gateway.services.wake import Wake
from gateway.settings import GatewaySettings
from gateway.store import routing
from gateway.store import tasks as rows
from gateway.store.database import Database
from gateway.values import Accepted, Upload, User
from mltm.contract.base_models import render_canonical
from mltm.contract.manifest import BundleFile, Manifest
from mltm.contract.spool_layout import ENTRYPOINT
from mltm.contract.user_api import TaskAnswer
from mltm.runtime.clock import Clock
from mltm.runtime.files import sync_folder

__all__ = ["Intake", "files_folder", "fingerprint_upload", "sweep"]


def files_folder(settings: GatewaySettings, task_id: str) -> Path:
    """Where a task's files lie until the agent has taken them."""
    return settings.files / task_id


def fingerprint_upload(upload: Upload) -> str:
    """What "the same body" means: the same config and the same set of names and hashes, not the same bytes."""
    files = sorted((file.name, file.sha256) for file in upload.files)
    return hashlib.sha256(render_canonical({"config": upload.config.to_json(), "files": files})).hexdigest()


class Intake:
    """Implements services.IntakePort."""

    def __init__(self, database: Database, settings: GatewaySettings, clock: Clock, wake: Wake) -> None:
        self._database, self._settings, self._clock, self._wake = database, settings, clock, wake

    async def accept(self, user: User, upload: Upload, idempotency_key: str | None) -> Accepted:
        """Make the task durable, or find the one of this key. Raises InvalidError, ConflictError, UnavailableError."""
        keyed = rows.Keyed(user.username, idempotency_key, fingerprint_upload(upload)) if idempotency_key else None
        known = await self._database.read(rows.find_repeat, keyed) if keyed else None
        if known is not None:
            return Accepted(await self._read(user, known), created=False)
        agent = await self._database.read(routing.route, user, upload.config.runner_location, self._settings.clusters)
        task_id, now = self._clock.new_id(), self._clock.now()
        manifest = _build_manifest(upload, task_id, user, self._settings.name, now)
        folder = files_folder(self._settings, task_id)
        try:
            await on_disk(_keep_files, upload, folder, self._settings)
            # Once asked for, the row is made even if the caller is cancelled: the files stay, a key finds it again.
            counting = await asyncio.shield(self._database.call(rows.add_task, manifest, agent, keyed, now))
        except DiskFullError:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)  # there is no row: SQLite was refused
            raise
        if counting != task_id:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        self._wake.ring("publisher")
        return Accepted(await self._read(user, counting), created=counting == task_id)

    async def _read(self, user: User, task_id: str) -> TaskAnswer:
        return await self._database.read(rows.read_task, user, task_id, self._clock.now())


def _build_manifest(upload: Upload, task_id: str, user: User, gateway: str, now: datetime) -> Manifest:
    files = [
        BundleFile(name=ENTRYPOINT if file is upload.script else file.name, size=file.size, sha256=file.sha256)
        for file in upload.files
    ]
    return Manifest(
        task_id=task_id,
        owner=user.username,
        cluster=upload.config.runner_location,
        gateway=gateway,
        submitted_at=now,
        script_name=upload.script.name,
        config=upload.config.to_json(),
        files=files,
    )


def _keep_files(upload: Upload, folder: Path, settings: GatewaySettings) -> None:
    """Move the staged files to their place and make that durable, before there is a row that counts on them."""
    if shutil.disk_usage(settings.data_dir).free < settings.min_free_bytes:
        raise DiskFullError(
            f"The gateway's disk is nearly full (less than {settings.min_free_bytes:,} bytes are free); "
            "nothing of this request was kept."
        )
    folder.mkdir(parents=True)
    for file in upload.files:
        file.path.rename(folder / (ENTRYPOINT if file is upload.script else file.name))
    for place in (folder, folder.parent):
        sync_folder(place)


def sweep(kept: Mapping[Path, Collection[str]]) -> None:
    """At start: empty the folders of what no row knows (a crash before its transaction), but for the names given."""
    for folder, names in kept.items():
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name in names:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
