"""A spool in a temporary folder, a clock that only moves when told to, bundles and drops."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from agent.settings import AgentSettings
from agent.spool.setup import prepare_spool
from mltm.contract.ids import TaskId
from mltm.contract.manifest import BundleFile, Manifest
from mltm.contract.spool_layout import Spool
from mltm.runtime.clock import Clock
from tests.mltm.contract.test_task_config import SEED

TASK = TaskId("0190a0b0c0d07e0f8a0b0c0d0e0f0a0b")
SCRIPT = b"print('hello')\n"
CONFIG = json.dumps({**SEED, "script_path": "train.py"}).encode()


@dataclass
class SpoolKit:
    """What the tests hold: the spool and the time."""

    root: Path
    now_s: float = 1000.0
    spool: Spool = field(init=False)
    settings: AgentSettings = field(init=False)
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        self.settings = AgentSettings(spool=self.root, cluster="atena02", credential_file=self.root / "credential")
        self.clock = Clock(boot_s=lambda: self.now_s)
        self.spool = prepare_spool(self.settings, self.clock).spool

    def drop(self, name: str, data: bytes) -> Path:
        path = self.spool.drop / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return path

    def tasks(self) -> list[TaskId]:
        return sorted(TaskId(path.name) for path in self.spool.tasks.iterdir() if not path.name.startswith("."))

    def staged(self) -> list[Path]:
        return list(self.spool.staging.iterdir())

    def manifest(self, task_id: TaskId) -> Manifest:
        return Manifest.model_validate_json(self.spool.task(task_id).manifest.read_bytes())


def send(
    kit: SpoolKit,
    task_id: TaskId = TASK,
    *,
    claimed: bytes = SCRIPT,
    given: bytes = SCRIPT,
    owner: str = "ana",
    **config: object,
) -> Path:
    """Publish a bundle as the gateway does; the manifest tells of `claimed`, the file holds `given`."""
    bundle = kit.spool.inbox.bundle(task_id)
    (bundle / "files").mkdir(parents=True)
    (bundle / "files" / "entrypoint.py").write_bytes(given)
    listed = BundleFile(name="entrypoint.py", size=len(claimed), sha256=hashlib.sha256(claimed).hexdigest())
    manifest = Manifest(
        task_id=task_id, owner=owner, cluster="atena02", submitted_at=datetime(2026, 11, 24, tzinfo=UTC),
        script_name="train.py", config=json.loads(CONFIG) | config, files=[listed],
    )  # fmt: skip
    (bundle / "manifest.json").write_text(manifest.model_dump_json())
    return bundle


def make_link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def make_second_name(path: Path) -> None:
    """A file that has another name too."""
    other = path.with_name(".other")
    other.write_bytes(SCRIPT)
    os.link(other, path)
