"""How a submission becomes a task: files in place, then one transaction, then the answer."""

import asyncio
import hashlib
import shutil
from datetime import datetime
from pathlib import Path

from gateway.errors import DiskFullError, UnauthorizedError
from gateway.private_files import make_private_folder
from gateway.services.disk import run_on_disk
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

__all__ = ["Submissions", "fingerprint_upload"]


def fingerprint_upload(upload: Upload) -> str:
    """Two bodies are the same if their config and their set of file names and hashes are; bytes may differ."""
    files = sorted((file.name, file.sha256) for file in upload.files)
    return hashlib.sha256(render_canonical({"config": upload.config.to_json(), "files": files})).hexdigest()


class Submissions:
    """Accepts tasks. The order of its steps is what makes an accepted task safe against a crash."""

    def __init__(self, database: Database, settings: GatewaySettings, clock: Clock, wake: Wake) -> None:
        self._database, self._settings, self._clock, self._wake = database, settings, clock, wake

    async def accept(self, user: User, upload: Upload, idempotency_key: str | None) -> Accepted:
        """Make the task durable, or find the task of this key. Raises InvalidError, ConflictError, UnavailableError.

        On success the staged files have been moved. What is left of `upload.folder` is the caller's to delete.
        """
        key = rows.SubmissionKey(user, idempotency_key, fingerprint_upload(upload)) if idempotency_key else None
        known = await self._database.read(rows.find_by_key, key) if key else None
        if known is not None:
            return Accepted(await self._read(user, known), created=False)
        agent = await self._database.read(routing.route, user, upload.config.runner_location, self._settings.clusters)
        task_id, now = self._clock.new_id(), self._clock.now()
        manifest = _build_manifest(upload, task_id, user, self._settings.name, now)
        folder = self._settings.task_files(task_id)
        try:
            await run_on_disk(_keep_files, upload, folder, self._settings)
            # From here on the row is made even if the caller is cancelled; a key finds the task again.
            accepted_id = await asyncio.shield(self._database.call(rows.add_task, user, manifest, agent, key, now))
        except (DiskFullError, UnauthorizedError):  # there is no row: SQLite was refused, or the user was removed
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            raise
        if accepted_id != task_id:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        self._wake.ring("publisher")
        return Accepted(await self._read(user, accepted_id), created=accepted_id == task_id)

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
    """Move the staged files to their place and make that durable, before a row relies on them."""
    if shutil.disk_usage(settings.data_dir).free < settings.min_free_bytes:
        raise DiskFullError(
            f"The gateway's disk is nearly full (less than {settings.min_free_bytes:,} bytes are free); "
            "nothing of this request was stored."
        )
    make_private_folder(folder)
    for file in upload.files:
        file.path.rename(folder / (ENTRYPOINT if file is upload.script else file.name))
    for place in (folder, folder.parent):
        sync_folder(place)
