"""What whoever swaps puts into the folder himself: bundles of a hostile gateway, drops of a hostile user."""

import hashlib
import json
import random
import shutil
from pathlib import Path

from mltm.contract.proofs import prove_bundle

__all__ = ["KEY", "SECRET", "SPOOL_ID", "put_bundles", "put_drops"]

SECRET = b"the secret that a link leads to\n"
SPOOL_ID, KEY = "5" * 32, b"k" * 32  #: of the spool for which these bundles are proved
_CODE = b"print(1)\n"
_AT_ONCE = 3
_PLANTED = 0.2  #: so many have a link in them from the beginning


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _plant(path: Path, wanted: dict[str, object]) -> None:
    path.unlink()
    path.symlink_to(str(wanted["outside_file"]))


def put_bundles(wanted: dict[str, object], rng: random.Random) -> None:
    """Keep some bundles in in/new. Each lists a file with the secret's hash, which only a link can provide."""
    new = Path(str(wanted["folder"]))
    for old in sorted(new.iterdir())[: -_AT_ONCE + 1]:
        shutil.rmtree(old, ignore_errors=True)
    task_id = f"{rng.getrandbits(128):032x}"
    files = [("entrypoint.py", _CODE, _CODE), ("canary", b"not the secret\n", SECRET)][: rng.choice([1, 2, 2])]
    listed = [{"name": name, "size": len(said), "sha256": _hash(said)} for name, _, said in files]
    manifest = {
        "kind": "manifest", "task_id": task_id, "owner": "ann", "cluster": "atena", "script_name": "s.py", "config": {},
        "submitted_at": "2026-01-01T00:00:00+00:00", "files": listed,
    }  # fmt: skip
    building = new.parent / "tmp" / task_id
    (building / "files").mkdir(parents=True)
    for name, data, _ in files:
        (building / "files" / name).write_bytes(data)
    if len(files) > 1 and rng.random() < _PLANTED:
        _plant(building / "files" / "canary", wanted)
    raw = json.dumps(manifest).encode()
    (building / "manifest.json").write_bytes(raw)
    (building / "proof").write_text(prove_bundle(KEY, SPOOL_ID, raw) + "\n", encoding="ascii")
    building.rename(new / task_id)


def put_drops(wanted: dict[str, object], rng: random.Random) -> None:
    """Keep some folders in drop/ that are complete, and single configs with a script."""
    drop = Path(str(wanted["folder"]))
    for old in sorted(drop.iterdir())[:-_AT_ONCE]:
        shutil.rmtree(old, ignore_errors=True) if old.is_dir() and not old.is_symlink() else old.unlink()
    number = f"{rng.getrandbits(32):08x}"
    clusters = {"atena": {"infra_config": {"instance_type": "cpu", "image_name": "image"}}}
    building = drop / f".{number}"
    building.mkdir()
    config = {"runner_location": "atena", "clusters": clusters, "script_path": "script.py"}
    (building / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (building / "script.py").write_bytes(_CODE)
    (building / "canary").write_bytes(b"not the secret\n")
    if rng.random() < _PLANTED:
        _plant(building / rng.choice(["canary", "script.py"]), wanted)
    building.rename(drop / f"{number}.ready")
