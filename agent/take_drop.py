"""Makes a task of a drop that was taken: taking/<task>/ holds the config and its files, and its name is the task's id.

Killed at any instant, the next scan goes on from what lies there; the rename to tasks/<task> has one winner.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from agent import files
from agent.bundle import BadSourceError, Place, build_staging, copy_file, discard, open_folder, publish, read_small
from agent.clock import Clock
from agent.drop_look import CHECKSUMS, READY_SUFFIX, DropView, look_into
from agent.drop_watch import is_unfinished_name
from agent.receipts import PLACE_FILE, Receipt, render_place, write_receipt
from agent.settings import AgentSettings
from agent.tombstones import has_tombstone
from mltm.contract.ids import TaskId
from mltm.contract.manifest import BundleFile, Manifest
from mltm.contract.names import ENTRYPOINT, Spool
from mltm.contract.parse_config import MAX_CONFIG_BYTES, ConfigError, read_json_object
from mltm.contract.shape import JsonObject

__all__ = ["Taker"]


@dataclass(frozen=True)
class Taker:
    """What taking needs."""

    spool: Spool
    settings: AgentSettings
    clock: Clock

    def finish(self, task_id: TaskId) -> str:
        """Bring one taken drop to its end; returns what is wrong with it, in words. Raises OSError."""
        folder = self.spool.taking / task_id
        if self.spool.task(task_id).manifest.exists() or has_tombstone(self.spool, task_id):
            shutil.rmtree(folder)
            return ""
        view = look_into(folder, None, None)
        if not view.config_name:
            return self._without_config(folder, task_id)
        if view.fault is not None and view.script:
            self._fetch(view.script, folder)
            view = look_into(folder, None, None)
        return self._publish(task_id, folder, view)

    def _without_config(self, folder: Path, task_id: TaskId) -> str:
        """A kill between making the folder and renaming the config into it left nothing; else it is bad."""
        if not os.listdir(folder):  # noqa: PTH208 - names only
            folder.rmdir()
            return ""
        return self.set_aside(task_id, folder.name, "It has no config: one JSON file that names its script.")

    def _fetch(self, script: str, folder: Path) -> None:
        """Bring the script that the config names; copied, because another config beside it may name it too."""
        building = folder / f".{script}.{self.clock.nonce()}"
        try:
            with open_folder(self.spool.drop) as drop:
                copied = copy_file(drop, script, building, own_uid=os.geteuid())
            if copied.is_steady:
                building.rename(folder / script)
        except (BadSourceError, FileNotFoundError):
            return
        finally:
            building.unlink(missing_ok=True)

    def _publish(self, task_id: TaskId, folder: Path, view: DropView) -> str:
        try:
            with open_folder(folder) as descriptor:
                raw = read_small(descriptor, view.config_name, MAX_CONFIG_BYTES, own_uid=os.geteuid())
                config = read_json_object(raw)
                names = view.names or _other_names(descriptor, view.config_name)
                if view.config is not None and view.script not in names:
                    return self.set_aside(task_id, view.config_name, view.fault.words if view.fault else "No script.")
                place = build_staging(self.spool, task_id, self.clock.nonce())
                listed = _copy_all(descriptor, names, view.script, place)
        except (BadSourceError, ConfigError) as error:
            return self.set_aside(task_id, view.config_name, str(error))
        if listed is None:
            discard(self.spool, place.path, self.clock.nonce())
            return f"The drop {view.config_name!a} is still being written; it is looked at again."
        self._write_control(place, task_id, view, config, listed)
        if not publish(self.spool, task_id, place):
            discard(self.spool, place.path, self.clock.nonce())
        shutil.rmtree(folder)
        return ""

    def _write_control(
        self, place: Place, task_id: TaskId, view: DropView, config: JsonObject, listed: list[BundleFile]
    ) -> None:
        manifest = Manifest(
            task_id=task_id,
            owner="",
            cluster=self.settings.cluster,
            submitted_at=self.clock.now(),
            script_name=view.script or ENTRYPOINT,
            config=config,
            files=listed,
            source="drop",
        )
        nonce = self.clock.nonce()
        files.replace(place.control / PLACE_FILE, render_place(view.config_name, self.clock), nonce)
        files.replace(place.control / "manifest.json", manifest.model_dump_json().encode(), nonce)

    def set_aside(self, task_id: TaskId, name: str, words: str) -> str:
        """Move a drop that can be no task to bad/, with its reason, and say so beside the place. Never deleted."""
        now = self.clock.now()
        receipt = Receipt(task_id=task_id, state="bad", final=True, words=words, taken_at=now, updated_at=now)
        write_receipt(self.spool, name, receipt, self.clock)
        files.replace(self.spool.bad / f"{task_id}.reason.txt", f"{words}\n".encode(), self.clock.nonce())
        files.move(self.spool.taking / task_id, self.spool.bad / task_id)
        return f"The drop {name!a} was set aside in {self.spool.bad / task_id}: {words}"


def _other_names(descriptor: int, config_name: str) -> tuple[str, ...]:
    names = sorted(os.listdir(descriptor))
    return tuple(
        n
        for n in names
        if n not in {config_name, CHECKSUMS} and not is_unfinished_name(n) and not n.endswith(READY_SUFFIX)
    )


def _copy_all(descriptor: int, names: tuple[str, ...], script: str, place: Place) -> list[BundleFile] | None:
    """Copy every file, synced and hashed; None where one was being written meanwhile."""
    listed = []
    for name in names:
        target = ENTRYPOINT if name == script else name
        copied = copy_file(descriptor, name, place.input / target, own_uid=os.geteuid())
        if not copied.is_steady:
            return None
        listed.append(BundleFile(name=target, size=copied.size, sha256=copied.sha256))
    return listed
