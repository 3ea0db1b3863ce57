"""Makes a task from a drop that was taken: taking/<id>/ holds its config or its folder, and <id> is the task's.

A faulty drop becomes a task too, with the fault in its manifest, and is closed at attempt 1 as rejected.
Whenever the agent is killed, the next scan goes on from what is there. The rename to tasks/<task> has one winner.
"""

import contextlib
import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass

from agent.intake.drop_checksums import CHECKSUMS, find_wrong_sum
from agent.intake.drop_contents import DropContents, DropSource, find_source, read_drop
from agent.intake.drop_script import holds_script, take_script_out
from agent.intake.private_copy import BadSourceError, copy_file
from agent.settings import AgentSettings
from agent.spool.file_stamp import FileStamp
from agent.spool.receipts import ORIGIN_FILE, read_origin, render_origin
from agent.spool.staging import StagedTask, discard_folder, make_staged_task, publish_task
from agent.spool.tombstones import has_tombstone, read_manifest
from mltm.contract.ids import TaskId
from mltm.contract.manifest import BundleFile, Manifest
from mltm.contract.spool_layout import ENTRYPOINT, MANIFEST, Spool
from mltm.runtime import files
from mltm.runtime.clock import Clock
from mltm.runtime.hostile_files import open_folder_below

__all__ = ["TakenDrops"]


@dataclass(frozen=True)
class TakenDrops:
    """The drops in taking/. last_read: the configs in drop/, as they were read last."""

    spool: Spool
    settings: AgentSettings
    clock: Clock
    last_read: Mapping[str, DropContents]

    def has_task(self, task_id: TaskId) -> bool:
        """True if the task of this drop is there, or was. Raises OSError."""
        return self.spool.task(task_id).manifest.exists() or has_tombstone(self.spool, task_id)

    def find(self, task_id: TaskId) -> DropSource | None:
        """What is in taking/<id>; None for nothing. Raises OSError."""
        taken = self.spool.taking / task_id
        entries = files.list_names(taken)
        name = next((name for name in entries if name.lower().endswith(".json")), entries[0]) if entries else None
        return None if name is None else find_source(taken, name, self.spool.drop)

    def make_task(self, task_id: TaskId, source: DropSource, contents: DropContents) -> str:
        """Make the task from a quiet drop with these contents; returns what is wrong, as a sentence. Raises OSError.

        If it changed while it was copied, no task is made, and it must become quiet again.
        """
        fault, nonce = self._find_fault(task_id, source, contents), self.clock.nonce()
        staged = make_staged_task(self.spool, task_id, nonce)
        try:
            copied = [] if fault else _copy_all(source, contents, staged)
            if copied is None or read_drop(source).stamps != contents.stamps:
                return ""
            self._write_control(staged, task_id, source, contents, copied, fault)
            publish_task(self.spool, task_id, staged)
        except BadSourceError:
            return ""  # it was a regular file when it was read: the next scan says what is wrong
        finally:
            discard_folder(self.spool, staged.path, nonce)
        if not self.has_task(task_id):
            raise FileExistsError(errno.EEXIST, "a folder without a manifest is there", str(self.spool.tasks / task_id))
        return self.clean_up(task_id)

    def clean_up(self, task_id: TaskId) -> str:
        """Remove what the task has its own copy of. Anything else is kept in bad/.

        Returns what was kept there and why, as a sentence. Raises OSError.
        """
        taken, kept = self.spool.taking / task_id, self.spool.bad / task_id
        source, manifest = self.find(task_id), read_manifest(self.spool, task_id)
        fault = manifest.fault if manifest is not None else ""
        script = self._take_script_out(task_id)
        if source is not None and manifest is not None and not fault:
            _remove_copied(source, manifest, script)
        with contextlib.suppress(OSError):
            taken.rmdir()
        if not os.path.lexists(taken):
            return ""
        message = fault or f"Task {task_id} did not use all files of its drop. The others are in {kept}."
        files.replace(self.spool.bad / f"{task_id}.reason.txt", f"{message}\n".encode(), self.clock.nonce())
        return message if files.move(taken, kept) else ""

    def _take_script_out(self, task_id: TaskId) -> FileStamp | None:
        origin = read_origin(self.spool, task_id)
        if origin is None or origin.script is None or not os.path.lexists(self.spool.taking / task_id):
            return None
        take_script_out(self.spool, task_id, origin.script, self.has_task, self.last_read)
        return origin.script

    def _find_fault(self, task_id: TaskId, source: DropSource, contents: DropContents) -> str:
        """Why it cannot become a task, and where it is kept; "" if it can."""
        message = contents.fault.message if contents.fault is not None else ""
        if contents.config is not None and contents.config.runner_location != self.settings.cluster:
            given, here = contents.config.runner_location, self.settings.cluster
            message = f"runner_location: {given!r} is another cluster. Drops here run on {here!r}."
        if not message and source.is_folder and (wrong := find_wrong_sum(source.folder)) is not None:
            message = f"{wrong!a} is missing, or differs from its checksum in {CHECKSUMS}."
        if not message:
            return ""
        return f"Cannot create a task from {source.name!a}: {message} It was moved to {self.spool.bad / task_id}."

    def _write_control(
        self,
        staged: StagedTask,
        task_id: TaskId,
        source: DropSource,
        contents: DropContents,
        copied: list[BundleFile],
        fault: str,
    ) -> None:
        manifest = Manifest(
            task_id=task_id,
            owner="",
            cluster=self.settings.cluster,
            submitted_at=self.clock.now(),
            script_name=contents.script,
            config=contents.shown,
            files=copied,
            source="drop",
            fault=fault,
        )
        nonce, script = self.clock.nonce(), None if source.is_folder else _find_script(contents)
        sha256 = next((listed.sha256 for listed in copied if listed.name == ENTRYPOINT), None)
        origin = render_origin(source.name, self.clock, script, sha256)
        files.replace(staged.control / ORIGIN_FILE, origin, nonce, 0o600)
        files.replace(staged.control / MANIFEST, manifest.model_dump_json().encode(), nonce, 0o600)


def _copy_all(source: DropSource, contents: DropContents, staged: StagedTask) -> list[BundleFile] | None:
    """Copy every file, synced and hashed; None if one of them was written meanwhile."""
    listed = []
    with open_folder_below(source.files.parent, [source.files.name]) as folder:
        for name in contents.names:
            target = ENTRYPOINT if name == contents.script else name
            copied = copy_file(folder, name, staged.input / target, own_uid=os.geteuid())
            if not copied.is_steady:
                return None
            listed.append(BundleFile(name=target, size=copied.size, sha256=copied.sha256))
    return listed


def _find_script(contents: DropContents) -> FileStamp | None:
    """The script of a single config. A script that is itself a config stays: it is a drop of its own."""
    if contents.script.lower().endswith(".json"):
        return None
    return next((stamp for stamp in contents.stamps if stamp.name == contents.script), None)


def _remove_copied(source: DropSource, manifest: Manifest, script: FileStamp | None) -> None:
    """Remove what the task has a copy of. The config comes last: if this is killed, the drop is found again by it."""
    if not source.is_folder:
        if script is not None and holds_script(source.folder, script):
            files.remove(source.folder / script.name)
        files.remove(source.folder / source.name)
        return
    copied = {listed.name for listed in manifest.files} - {ENTRYPOINT} | {manifest.script_name, CHECKSUMS}
    config_name = read_drop(source).config_name
    for name in (*sorted(copied), config_name):
        if name:
            files.remove(source.folder / name)
    with contextlib.suppress(OSError):
        source.folder.rmdir()
