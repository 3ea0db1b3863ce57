"""Somebody else can write where the agent looks for tasks: bundles of his, some under the id of a task that waits."""

import hashlib
import json
import os
import shutil
import signal
from pathlib import Path

from attack.accounts import Account, give
from attack.guards import replace
from attack.product import processes
from attack.product.forged_agent import ForgedAgent
from attack.product.house import House, open_house
from attack.product.real_agent import RealAgent, running_agent
from attack.trial import Scenario, Trial
from mltm.contract.proofs import prove_bundle

__all__ = ["SCENARIO"]

_CODE = b"print('forged')\n"
_KINDS = ("no proof", "of his own spool", "by his own key", "the genuine one", "cut short", "a link to the genuine one")


def run(trial: Trial) -> None:
    """Ben has a spool of his own, with its key. The folder for ann's tasks is opened after her agent has started."""
    with open_house(trial) as house, running_agent(house, "ann") as agent:
        ben = house.forge_agents("ben")["ben"]
        (house.inbox("ann") / "new").chmod(0o2777)
        for number in range(trial.tries):
            kind, is_victims = _KINDS[number % len(_KINDS)], number // len(_KINDS) % 2 == 0
            told = _try(house, agent, ben, kind, is_victims=is_victims)
            trial.tally.count(f"{kind}: {told}" if told else "")


def _try(house: House, agent: RealAgent, ben: ForgedAgent, kind: str, *, is_victims: bool) -> str:
    """Replace ann's bundle by a forged one, or put that beside it, before the agent looks. Later ann's is back."""
    os.kill(agent.pid, signal.SIGSTOP)
    task_id = house.submit("ann")
    place, kept = house.inbox("ann") / "new" / task_id, house.folder / "kept"
    processes.wait_until(place.exists, "ann's bundle is published")
    shutil.copytree(place, kept)
    name = task_id if is_victims else task_id[::-1]
    if is_victims:
        shutil.rmtree(place)
    forged = _forge(place.with_name(name), kept, name, kind, ben)
    _give_all(forged, house.accounts["ben"])
    os.kill(agent.pid, signal.SIGCONT)
    journal = house.spool("ann") / "tasks" / name / "control"
    processes.wait_until(lambda: journal.exists() or _is_named(agent.log, name), "the agent has looked at it")
    told = "it touched a journal" if journal.exists() else ""
    shutil.rmtree(forged)
    if is_victims and not told:
        shutil.copytree(kept, place)
    shutil.rmtree(kept)
    return told or _judge(house, task_id)


def _forge(place: Path, genuine: Path, name: str, kind: str, ben: ForgedAgent) -> Path:
    manifest = json.loads((genuine / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"] = [{"name": "entrypoint.py", "size": len(_CODE), "sha256": hashlib.sha256(_CODE).hexdigest()}]
    raw = json.dumps({**manifest, "task_id": name}).encode()
    key, spool_id = bytes.fromhex(ben.spool_key), ben.spool_id
    stolen = (genuine / "proof").read_text(encoding="ascii").strip()
    (place / "files").mkdir(parents=True)
    (place / "files" / "entrypoint.py").write_bytes(_CODE)
    (place / "manifest.json").write_bytes(raw)
    (place / "config.json").write_bytes((genuine / "config.json").read_bytes())
    proofs = {
        "of his own spool": prove_bundle(key, spool_id, raw), "by his own key": prove_bundle(key, "", raw),
        "the genuine one": stolen, "cut short": stolen[:1],
    }  # fmt: skip
    if kind in proofs:
        (place / "proof").write_text(f"{proofs[kind]}\n", encoding="ascii")
    elif kind != "no proof":
        (place / "proof").symlink_to(genuine / "proof")
    return place


def _give_all(place: Path, account: Account) -> None:
    for path in (place, *place.rglob("*")):
        if not path.is_symlink():
            give(path, account, 0o755)


def _is_named(log: Path, name: str) -> bool:
    return any(name in line and "bundle_waits" in line for line in log.read_text(encoding="utf-8").splitlines())


def _judge(house: House, task_id: str) -> str:
    """Ann's own task has to come through."""

    def read() -> dict[str, object]:
        task: dict[str, object] = house.ask("ann", "GET", f"/v1/tasks/{task_id}").json()
        return task

    processes.wait_until(lambda: read()["state"] != "accepted", "ann's task goes on")
    state = str(read()["state"])
    return f"ann's task became {state}" if state in {"rejected", "failed"} else ""


def take_guard_out() -> None:
    """An agent that takes what lies there."""
    import agent.intake.bundle_proof as proofs
    from agent.intake.private_copy import read_small
    from mltm.runtime.hostile_files import Folder

    def read_manifest(_: object, bundle: Folder) -> bytes:
        return read_small(bundle, "manifest.json", proofs.MAX_MANIFEST_BYTES)

    replace(proofs.BundleProof, "read_manifest", read_manifest)


SCENARIO = Scenario(
    threats="1.9, 3b.1",
    tries_to="put bundles without a valid proof where the agent looks, some under the id of a task that waits",
    run=run,
    take_guard_out=take_guard_out,
    tries=24,
    control_tries=3,
)
