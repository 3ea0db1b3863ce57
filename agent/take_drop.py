"""Makes a task of a drop that was taken: taking/<id>/ holds its config or its folder, and <id> is the task's.

Killed at any instant, the next scan goes on from what lies there; the rename to tasks/<task> has one winner.
"""

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path

from agent import files
from agent.bundle import BadSourceError, Place, build_staging, copy_file, discard, open_folder, publish, read_small
from agent.clock import Clock
from agent.drop_look import CHECKSUMS, look_into
from agent.receipts import PLACE_FILE, Receipt, render_place, write_receipt
from agent.settings import AgentSettings
from agent.tombstones import has_tombstone, read_manifest
from mltm.contract.ids import TaskId
from mltm.contract.manifest import BundleFile, Manifest
from mltm.contract.names import ENTRYPOINT, MANIFEST, Spool
from mltm.contract.parse_config import MAX_CONFIG_BYTES, ConfigError, read_json_object
from mltm.contract.shape import JsonObject

__all__ = ["Taken", "Taker"]


@dataclass(frozen=True)
class Taken:
    """What became of one: words where something is wrong; is_waiting: somebody still writes there."""

    words: str = ""
    is_waiting: bool = False
    script: str = ""


@dataclass(frozen=True)
class Taker:
    """What taking needs."""

    spool: Spool
    settings: AgentSettings
    clock: Clock

    def finish(self, task_id: TaskId) -> Taken:
        """Bring one taken drop to its end, where nobody writes to it any more. Raises OSError."""
        if self._is_settled(task_id):
            return Taken(self._clean(task_id))
        taken = self.spool.taking / task_id
        entries = files.list_names(taken)
        if not entries:
            # A kill between making the folder and the rename into it leaves nothing, or another agent just made it.
            with contextlib.suppress(OSError):
                taken.rmdir()
            return Taken()
        folder = taken / entries[0]
        if len(entries) == 1 and folder.is_dir() and not folder.is_symlink():
            return self._publish(task_id, folder, entries[0])
        config = next((name for name in entries if name.lower().endswith(".json")), entries[0])
        script = look_into(taken, [config], config).script
        if script and script not in entries and not self._fetch(script, taken):
            return Taken(is_waiting=True, script=script)
        return self._publish(task_id, taken, config)

    def _is_settled(self, task_id: TaskId) -> bool:
        return self.spool.task(task_id).manifest.exists() or has_tombstone(self.spool, task_id)

    def _fetch(self, script: str, folder: Path) -> bool:
        """Bring the script that the config names; copied, because another config beside it may name it too.

        False where somebody is writing it.
        """
        building = folder / f".{self.clock.nonce()}"
        try:
            with open_folder(self.spool.drop) as drop:
                copied = copy_file(drop, script, building, own_uid=os.geteuid())
            if copied.is_steady:
                building.rename(folder / script)
        except (BadSourceError, FileNotFoundError):
            return True  # the look at the folder says in words what is wrong
        finally:
            building.unlink(missing_ok=True)
        return copied.is_steady

    def _publish(self, task_id: TaskId, folder: Path, name: str) -> Taken:
        view = look_into(folder, None, None if folder.name == name else name)
        if view.fault is not None:
            return self._set_aside(task_id, name, view.fault.words)
        nonce = self.clock.nonce()
        place = build_staging(self.spool, task_id, nonce)
        try:
            with open_folder(folder) as descriptor:
                raw = read_small(descriptor, view.config_name, MAX_CONFIG_BYTES, own_uid=os.geteuid())
                listed = _copy_all(descriptor, view.names, view.script, place)
            if listed is None or look_into(folder, None, view.config_name).seen != view.seen:
                return Taken(is_waiting=True)
            self._write_control(place, task_id, name, view.script, read_json_object(raw), listed)
            publish(self.spool, task_id, place)
        except (BadSourceError, ConfigError) as error:
            return self._set_aside(task_id, name, str(error))
        finally:
            discard(self.spool, place.path, nonce)
        if not self._is_settled(task_id):
            raise FileExistsError(errno.EEXIST, "a folder without a manifest is there", str(self.spool.tasks / task_id))
        return Taken(self._clean(task_id))

    def _clean(self, task_id: TaskId) -> str:
        """Remove what the task has its own copy of; anything else that lay there goes to bad/, never away."""
        taken = self.spool.taking / task_id
        manifest = read_manifest(self.spool, task_id)
        entries = files.list_names(taken)
        is_folder = len(entries) == 1 and (taken / entries[0]).is_dir() and not (taken / entries[0]).is_symlink()
        folder = taken / entries[0] if is_folder else taken
        if manifest is not None:
            carried = {listed.name for listed in manifest.files} - {ENTRYPOINT} | {manifest.script_name, CHECKSUMS}
            # The config last: after a kill in here its name is found again.
            for name in (*sorted(carried), look_into(folder, None, None).config_name):
                if name:
                    files.remove(folder / name)
            for half in [] if is_folder else taken.glob(".*"):  # of a fetch that was killed
                files.remove(half)
        with contextlib.suppress(OSError):
            folder.rmdir()
            if is_folder:
                taken.rmdir()
        if os.path.lexists(taken) and files.move(taken, self.spool.bad / task_id):
            return f"What task {task_id} did not take of its drop lies in {self.spool.bad / task_id}."
        return ""

    def _write_control(
        self, place: Place, task_id: TaskId, name: str, script: str, config: JsonObject, listed: list[BundleFile]
    ) -> None:
        manifest = Manifest(
            task_id=task_id,
            owner="",
            cluster=self.settings.cluster,
            submitted_at=self.clock.now(),
            script_name=script,
            config=config,
            files=listed,
            source="drop",
        )
        nonce = self.clock.nonce()
        files.replace(place.control / PLACE_FILE, render_place(name, self.clock), nonce, 0o600)
        files.replace(place.control / MANIFEST, manifest.model_dump_json().encode(), nonce, 0o600)

    def _set_aside(self, task_id: TaskId, name: str, words: str) -> Taken:
        """Move a drop that can be no task to bad/, with its reason, and say so beside the place. Never deleted."""
        if self._is_settled(task_id):
            return Taken()  # another agent has made the task, and is clearing the rest away
        now = self.clock.now()
        receipt = Receipt(task_id=task_id, state="bad", final=True, words=words, taken_at=now, updated_at=now)
        write_receipt(self.spool, name, receipt, self.clock)
        files.replace(self.spool.bad / f"{task_id}.reason.txt", f"{words}\n".encode(), self.clock.nonce())
        files.move(self.spool.taking / task_id, self.spool.bad / task_id)
        return Taken(f"The drop {name!a} was set aside in {self.spool.bad / task_id}: {words}")


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
