"""Bundles of somebody else lie where the agent looks for tasks, some under the id of a task that waits."""

import hashlib
import json
import os
import shutil
import signal
import time
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
_WAITS = "import time\ntime.sleep(2)\n"
_LOOKS_AGAIN_S = 2.5  #: the agent of the suite looks at what it set aside again after 1.5 s
_WHERE = ("of a task that waits", "of a task that was taken", "beside it")
_KINDS = ("no proof", "of his own spool", "by his own key", "the genuine one", "cut short", "a link to the genuine one")


def run(trial: Trial) -> None:
    """Ben has a spool of his own, with its key. How his bundles came into ann's inbox is left open."""
    with open_house(trial) as house, running_agent(house, "ann") as agent:
        ben = house.forge_agents("ben")["ben"]
        names: list[str] = []
        for number in range(trial.tries):
            kind, where = _KINDS[number % len(_KINDS)], _WHERE[(number + number // len(_KINDS)) % len(_WHERE)]
            name, told = _try(house, agent, ben, kind, where)
            names.append(name)
            trial.tally.count(f"{kind}, {where}: {told}" if told else "")
        time.sleep(_LOOKS_AGAIN_S)
        told_of = {name: _count_named(agent.log, name) for name in names}
        trial.tally.reached += [f"{name} was named {count} times" for name, count in told_of.items() if count > 1]
        places, uid = [house.inbox("ann") / "new" / name for name in names], house.accounts["ben"].uid
        left = sum(place.exists() and place.stat().st_uid == uid for place in places)
        trial.tally.counts["forged bundles that lay there to the end"] = left


def _try(house: House, agent: RealAgent, ben: ForgedAgent, kind: str, where: str) -> tuple[str, str]:
    """Put a forged bundle where ann's is, was, or beside it. Returns its name, and what it reached.

    In the place of one that waits it lies until the agent has looked at it several times; elsewhere it stays.
    """
    os.kill(agent.pid, signal.SIGSTOP)
    task_id = house.submit("ann", script=_WAITS)
    place, kept = house.inbox("ann") / "new" / task_id, house.folder / "kept"
    processes.wait_until(place.exists, "ann's bundle is published")
    shutil.copytree(place, kept)
    name = task_id[::-1] if where == "beside it" else task_id
    task = house.spool("ann") / "tasks" / task_id
    if where == "of a task that was taken":
        os.kill(agent.pid, signal.SIGCONT)
        processes.wait_until((task / "control" / "manifest.json").exists, "the agent has ann's task")
        os.kill(agent.pid, signal.SIGSTOP)
    if where != "beside it":
        shutil.rmtree(place, ignore_errors=True)  # the gateway may have removed it by now
    forged = _forge(place.with_name(name), kept, name, kind, ben)
    _give_all(forged, house.accounts["ben"])
    os.kill(agent.pid, signal.SIGCONT)
    told = _look(house, agent, name) if where != "of a task that was taken" else ""
    if where == "of a task that waits" and not told:
        time.sleep(_LOOKS_AGAIN_S)
        shutil.rmtree(forged)
        shutil.copytree(kept, place)
    shutil.rmtree(kept)
    return name, told or _judge(house, task, task_id)


def _look(house: House, agent: RealAgent, name: str) -> str:
    """Wait until the agent has looked at the forged bundle, which is not one of its tasks."""
    journal = house.spool("ann") / "tasks" / name / "control"
    processes.wait_until(lambda: journal.exists() or _count_named(agent.log, name), "the agent has looked at it")
    return "it touched a journal" if journal.exists() else ""


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


def _count_named(log: Path, name: str) -> int:
    return sum(name in line and "bundle_waits" in line for line in log.read_text(encoding="utf-8").splitlines())


def _judge(house: House, task: Path, task_id: str) -> str:
    """Ann's own task has to come through, with her script."""

    def read() -> dict[str, object]:
        told: dict[str, object] = house.ask("ann", "GET", f"/v1/tasks/{task_id}").json()
        return told

    processes.wait_until(lambda: read()["state"] not in {"accepted", "submitting", "pending"}, "ann's task goes on")
    state, script = str(read()["state"]), (task / "input" / "entrypoint.py").read_text(encoding="utf-8")
    return f"ann's task became {state}" if state in {"rejected", "failed"} or script != _WAITS else ""


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
    tries=36,
    control_tries=3,
)
