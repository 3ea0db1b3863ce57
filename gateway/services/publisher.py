"""Carries out the outbox: brings bundles into the inboxes, and removes those that an agent has taken.

It may be killed at any instant. A bundle is built in tmp/ under a name of its own, synced, and renamed to new/: the
agent sees all of it or nothing. A repetition gives the same bundle. An inbox that is away or full is tried again, and
shown in /healthz.
"""

import asyncio
import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog

from gateway.errors import UnavailableError
from gateway.services.wake import Wake
from gateway.settings import GatewaySettings
from gateway.store import outbox
from gateway.store.database import Database
from gateway.store.outbox import OutboxEntry
from mltm.contract.base_models import render_canonical
from mltm.contract.proofs import prove_bundle
from mltm.contract.spool_layout import CONFIG_FILE, GONE_SUFFIX, MANIFEST, PROOF, Inbox
from mltm.runtime import hostile_files
from mltm.runtime.clock import Clock
from mltm.runtime.events import wait_for_event
from mltm.runtime.hostile_files import Folder

__all__ = ["Publisher", "publish_bundle", "remove_taken"]

_log = structlog.get_logger(__name__)
_REPUBLISH_S = 600.0
# Files and folders of a bundle: readable for the agent's group.
_FILE_MODE, _FOLDER_MODE = 0o640, 0o2750


class Publisher:
    """Carries out the outbox until it is stopped. `problem`: why the last round did not do everything, or ""."""

    def __init__(self, database: Database, settings: GatewaySettings, clock: Clock, wake: Wake) -> None:
        self._database, self._settings, self._clock, self._wake = database, settings, clock, wake
        self.problem = ""

    async def run(self) -> None:
        """Carry out entries as they come. What failed is tried again every `publish_interval_s`."""
        checked_s = float("-inf")
        with self._wake.listen("publisher") as came:
            while True:
                try:
                    if self._clock.boot_s() >= checked_s + _REPUBLISH_S:
                        checked_s = self._clock.boot_s()
                        await self.republish()
                    is_moving = await self.run_once()
                except UnavailableError as error:  # a busy or full database: the step is repeated
                    self.problem, is_moving = str(error), False
                    _log.warning("publisher_waits", error=str(error))
                if not is_moving:
                    await wait_for_event(came, self._settings.publish_interval_s)

    async def republish(self) -> None:
        """Publish again what is marked as published and is missing in new/: only we remove bundles, once taken.

        The agent recognises a task that it has, or had: a second bundle of it is harmless.
        """
        await self._database.call(outbox.try_damaged_again)
        for entry in await self._database.read(outbox.list_published, self._settings.name):
            try:
                again = await asyncio.to_thread(_publish_missing, entry, self._settings)
            except (OSError, ValueError) as error:
                _log.warning("publish_failed", task_id=entry.task_id, error=str(error))
                continue
            if again:
                _log.warning("task_published_again", task_id=entry.task_id)

    async def run_once(self) -> bool:
        """Carry out what is due. True if something moved on, so that more may be due."""
        entries, damaged = await self._database.read(outbox.list_due, self._settings.name)
        for task_id in damaged:
            await self._database.call(outbox.set_aside, task_id, self._clock.now())
        self.problem = _explain_damaged(await self._database.read(outbox.list_damaged))
        moved = False
        for entry in entries:
            try:
                await asyncio.to_thread(_carry_out, entry, self._settings)
            except ValueError as error:  # a config that is not JSON: NaN, half a surrogate pair
                await self._database.call(outbox.set_aside, entry.task_id, self._clock.now())
                _log.error("row_damaged", what="bundle", task_id=entry.task_id, error=type(error).__name__)
                moved = True
                continue
            except OSError as error:
                self.problem = f"Inbox {entry.inbox}: {error.strerror} ({error.filename}). Its tasks wait."
                _log.warning("publish_failed", task_id=entry.task_id, error=str(error))
                continue
            after = "published" if entry.step == "waiting" else None
            await self._database.call(outbox.mark, entry.task_id, entry.step, after, entry.inbox)
            _log.info("task_published" if after else "task_cleared", task_id=entry.task_id)
            moved = True
        return moved


def _explain_damaged(task_ids: Sequence[str]) -> str:
    if not task_ids:
        return ""
    return (
        f"{len(task_ids)} tasks cannot be sent to their cluster, because their rows in the database are damaged. The "
        f"first one is {task_ids[0]}. Repair the row (it is tried again every 10 minutes), or ask its owner to submit "
        "the task again."
    )


def _carry_out(entry: OutboxEntry, settings: GatewaySettings) -> None:
    if entry.inbox is None:
        return
    inbox, source = Inbox(entry.inbox), settings.task_files(entry.task_id)
    if entry.step == "waiting":
        publish_bundle(entry, source, inbox)
    else:
        remove_taken(entry.task_id, inbox)
        shutil.rmtree(source, ignore_errors=True)


def _publish_missing(entry: OutboxEntry, settings: GatewaySettings) -> bool:
    if entry.inbox is None:
        return False
    inbox = Inbox(entry.inbox)
    with _open_inbox(inbox) as (_, new):
        if hostile_files.exists_at(new, entry.task_id):
            return False
    publish_bundle(entry, settings.task_files(entry.task_id), inbox)
    return True


def publish_bundle(entry: OutboxEntry, source: Path, inbox: Inbox) -> None:
    """Build a task's bundle and rename it into new/; nothing to do if it is there. Raises OSError."""
    with _open_inbox(inbox) as (building, new):
        if hostile_files.exists_at(new, entry.task_id):
            hostile_files.sync(new)  # whoever renamed it may have died before this
            return
        _sweep(building, entry.task_id)
        name = hostile_files.make_private_name(entry.task_id)
        try:
            _build(building, name, entry, source)
            hostile_files.rename_at(building, name, new, entry.task_id)
        except OSError:
            _sweep(building, entry.task_id)
            raise
        hostile_files.sync(new)


def remove_taken(task_id: str, inbox: Inbox) -> None:
    """Move a bundle out of new/ by one rename, then delete it. Raises OSError."""
    with contextlib.suppress(FileNotFoundError), _open_inbox(inbox) as (building, new):
        with contextlib.suppress(FileNotFoundError):
            hostile_files.rename_at(new, task_id, building, hostile_files.make_private_name(task_id, GONE_SUFFIX))
        _sweep(building, task_id)


@contextlib.contextmanager
def _open_inbox(inbox: Inbox) -> Iterator[tuple[Folder, Folder]]:
    """Open tmp/ and new/, made if they are missing. Raises OSError; FileNotFoundError if the inbox is away."""
    with contextlib.ExitStack() as stack:
        root = stack.enter_context(hostile_files.open_folder(inbox.root))
        yield _enter(stack, root, inbox.building), _enter(stack, root, inbox.new)


def _enter(stack: contextlib.ExitStack, folder: Folder, place: Path) -> Folder:
    for name in place.relative_to(folder.path).parts:
        if not hostile_files.exists_at(folder, name):
            with contextlib.suppress(FileExistsError):
                hostile_files.make_folder_at(folder, name, _FOLDER_MODE)
        folder = stack.enter_context(hostile_files.open_folder_at(folder, name))
    return folder


def _build(parent: Folder, name: str, entry: OutboxEntry, source: Path) -> None:
    hostile_files.make_folder_at(parent, name, _FOLDER_MODE)
    with hostile_files.open_folder_at(parent, name) as bundle:
        hostile_files.make_folder_at(bundle, "files", _FOLDER_MODE)
        with hostile_files.open_folder_at(bundle, "files") as files:
            for file in entry.manifest.files:
                hostile_files.write_new_at(files, file.name, (source / file.name).read_bytes(), _FILE_MODE)
            hostile_files.sync(files)
        manifest = render_canonical(entry.manifest.model_dump(mode="json"))
        proof = prove_bundle(entry.key, entry.spool_id, manifest)
        config = render_canonical(entry.manifest.config)
        for file_name, data in ((CONFIG_FILE, config), (MANIFEST, manifest), (PROOF, f"{proof}\n".encode())):
            hostile_files.write_new_at(bundle, file_name, data, _FILE_MODE)
        hostile_files.sync(bundle)


def _sweep(building: Folder, task_id: str) -> None:
    """Remove what has the task's name in tmp/: a killed gateway left it there.

    A task belongs to one gateway and has one entry: bundles of other tasks and gateways have other names. It is
    renamed before it is removed: another gateway that still ends its last step cannot publish half of it.
    """
    with contextlib.suppress(OSError):
        for name in hostile_files.list_names(building):
            if name.partition(".")[0] == task_id:
                _discard(building, name)


def _discard(building: Folder, name: str) -> None:
    with contextlib.suppress(OSError):
        gone = name
        if not name.endswith(GONE_SUFFIX):
            gone = hostile_files.make_private_name(name, GONE_SUFFIX)
            hostile_files.rename_at(building, name, building, gone)
        hostile_files.remove_tree_at(building, gone)
