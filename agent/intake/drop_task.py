"""Makes a task of a drop that was taken: taking/<id>/ holds its config or its folder, and <id> is the task's.

A drop that can be no task becomes one too, with a fault in its manifest, and is closed at attempt 1 as rejected.
Killed at any instant, the next scan goes on from what lies there; the rename to tasks/<task> has one winner.
"""

import contextlib
import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass

from agent.intake.drop_checksums import CHECKSUMS, find_wrong_sum
from agent.intake.drop_contents import DropView, Source, find_source, look_into
from agent.intake.drop_script import holds_script, take_script_out
from agent.intake.private_copy import BadSourceError, Place, build_staging, copy_file, discard, publish
from agent.intake.quiet_time import Entry
from agent.settings import AgentSettings
from agent.spool.receipts import PLACE_FILE, read_place, render_place
from agent.spool.tombstones import has_tombstone, read_manifest
from mltm.contract.ids import TaskId
from mltm.contract.manifest import BundleFile, Manifest
from mltm.contract.spool_layout import ENTRYPOINT, MANIFEST, Spool
from mltm.runtime import files
from mltm.runtime.clock import Clock
from mltm.runtime.hostile_files import open_folder_below

__all__ = ["Taker"]


@dataclass(frozen=True)
class Taker:
    """What taking needs. views: of configs in drop/, as they were last seen."""

    spool: Spool
    settings: AgentSettings
    clock: Clock
    views: Mapping[str, DropView]

    def is_settled(self, task_id: TaskId) -> bool:
        """True where the task of this drop is there, or was. Raises OSError."""
        return self.spool.task(task_id).manifest.exists() or has_tombstone(self.spool, task_id)

    def find(self, task_id: TaskId) -> Source | None:
        """What lies in taking/<id>; None for nothing. Raises OSError."""
        taken = self.spool.taking / task_id
        entries = files.list_names(taken)
        name = next((name for name in entries if name.lower().endswith(".json")), entries[0]) if entries else None
        return None if name is None else find_source(taken, name, self.spool.drop)

    def finish(self, task_id: TaskId, source: Source, view: DropView) -> str:
        """Make the task of a drop that is at rest as `view`; what is wrong, in words. Raises OSError.

        Where it changed under the copy nothing is made, and it has to come to rest again.
        """
        fault, nonce = self._judge(task_id, source, view), self.clock.nonce()
        place = build_staging(self.spool, task_id, nonce)
        try:
            copied = [] if fault else _copy_all(source, view, place)
            if copied is None or look_into(source).seen != view.seen:
                return ""
            self._write_control(place, task_id, source, view, copied, fault)
            publish(self.spool, task_id, place)
        except BadSourceError:
            return ""  # it was a plain file when it was looked at: the next look says what is wrong
        finally:
            discard(self.spool, place.path, nonce)
        if not self.is_settled(task_id):
            raise FileExistsError(errno.EEXIST, "a folder without a manifest is there", str(self.spool.tasks / task_id))
        return self.clean(task_id)

    def clean(self, task_id: TaskId) -> str:
        """Remove what the task has its own copy of; anything else that lay there goes to bad/, never away.

        Returns what was kept there and why, in words. Raises OSError.
        """
        taken, kept = self.spool.taking / task_id, self.spool.bad / task_id
        source, manifest = self.find(task_id), read_manifest(self.spool, task_id)
        fault = manifest.fault if manifest is not None else ""
        script = self._take_script_out(task_id)
        if source is not None and manifest is not None and not fault:
            _remove_carried(source, manifest, script)
        with contextlib.suppress(OSError):
            taken.rmdir()
        if not os.path.lexists(taken):
            return ""
        message = fault or f"What task {task_id} did not take of its drop lies in {kept}."
        files.replace(self.spool.bad / f"{task_id}.reason.txt", f"{message}\n".encode(), self.clock.nonce())
        return message if files.move(taken, kept) else ""

    def _take_script_out(self, task_id: TaskId) -> Entry | None:
        place = read_place(self.spool, task_id)
        if place is None or place.script is None or not os.path.lexists(self.spool.taking / task_id):
            return None
        take_script_out(self.spool, task_id, place.script, self.is_settled, self.views)
        return place.script

    def _judge(self, task_id: TaskId, source: Source, view: DropView) -> str:
        """Why it can be no task, and where it is kept then; "" where it can be one."""
        message = view.fault.message if view.fault is not None else ""
        if view.config is not None and view.config.runner_location != self.settings.cluster:
            given, here = view.config.runner_location, self.settings.cluster
            message = f"runner_location: {given!r} is another cluster; what is dropped here runs on {here!r}."
        if not message and source.is_folder and (wrong := find_wrong_sum(source.folder)) is not None:
            message = f"{wrong!a} is not there as {CHECKSUMS} lists it."
        return (
            f"The drop {source.name!a} can be no task: {message} It lies in {self.spool.bad / task_id}."
            if message
            else ""
        )

    def _write_control(
        self, place: Place, task_id: TaskId, source: Source, view: DropView, copied: list[BundleFile], fault: str
    ) -> None:
        manifest = Manifest(
            task_id=task_id,
            owner="",
            cluster=self.settings.cluster,
            submitted_at=self.clock.now(),
            script_name=view.script,
            config=view.shown,
            files=copied,
            source="drop",
            fault=fault,
        )
        nonce, script = self.clock.nonce(), None if source.is_folder else _find_script(view)
        sha256 = next((listed.sha256 for listed in copied if listed.name == ENTRYPOINT), None)
        files.replace(place.control / PLACE_FILE, render_place(source.name, self.clock, script, sha256), nonce, 0o600)
        files.replace(place.control / MANIFEST, manifest.model_dump_json().encode(), nonce, 0o600)


def _copy_all(source: Source, view: DropView, place: Place) -> list[BundleFile] | None:
    """Copy every file, synced and hashed; None where one was being written meanwhile."""
    listed = []
    with open_folder_below(source.files.parent, [source.files.name]) as folder:
        for name in view.names:
            target = ENTRYPOINT if name == view.script else name
            copied = copy_file(folder, name, place.input / target, own_uid=os.geteuid())
            if not copied.is_steady:
                return None
            listed.append(BundleFile(name=target, size=copied.size, sha256=copied.sha256))
    return listed


def _find_script(view: DropView) -> Entry | None:
    """The script of a single config as it was seen; what is itself a config is nobody's to take along."""
    if view.script.lower().endswith(".json"):
        return None
    return next((entry for entry in view.seen if entry[0] == view.script), None)


def _remove_carried(source: Source, manifest: Manifest, script: Entry | None) -> None:
    """Remove what the task has, the config last: after a kill in here its name is found again."""
    if not source.is_folder:
        if script is not None and holds_script(source.folder, script):
            files.remove(source.folder / script[0])
        files.remove(source.folder / source.name)
        return
    carried = {listed.name for listed in manifest.files} - {ENTRYPOINT} | {manifest.script_name, CHECKSUMS}
    config_name = look_into(source).config_name
    for name in (*sorted(carried), config_name):
        if name:
            files.remove(source.folder / name)
    with contextlib.suppress(OSError):
        source.folder.rmdir()
