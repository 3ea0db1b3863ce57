"""A spool without a key, of the first version: bundles of another account than the gateway's, put where it looks."""

import hashlib
import json
from pathlib import Path

from attack.accounts import Account, give, make_accounts
from attack.guards import replace
from attack.product import processes
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO", "take"]

_CODE = b"print('whose?')\n"


def run(trial: Trial) -> None:
    """The gateway's bundle comes first; each try is one of ben's, in a start of the agent of its own."""
    accounts = make_accounts("gateway", "ann", "ben", shared=[("gateway", "ann")])
    new = trial.folder / "inbox" / "new"
    for place in (new.parent, new.parent / "tmp", new):
        place.mkdir()
        give(place, accounts["gateway"], 0o2750, group=accounts["ann"].groups[0])
    home = trial.folder / "ann"
    home.mkdir()
    give(home, accounts["ann"], 0o700)
    _put(new, "0" * 31 + "1", accounts["gateway"])
    assert _take(trial, accounts["ann"], home) == ["0" * 31 + "1"]
    for number in range(trial.tries):
        task_id = f"{number + 2:032x}"
        _put(new, task_id, accounts["ben"])
        trial.tally.count("ben's bundle became a task" if task_id in _take(trial, accounts["ann"], home) else "")


def _put(new: Path, task_id: str, owner: Account) -> None:
    listed = [{"name": "entrypoint.py", "size": len(_CODE), "sha256": hashlib.sha256(_CODE).hexdigest()}]
    manifest = {
        "kind": "manifest", "task_id": task_id, "owner": "ann", "cluster": "atena", "script_name": "s.py", "config": {},
        "submitted_at": "2026-01-01T00:00:00+00:00", "files": listed,
    }  # fmt: skip
    bundle = new / task_id
    (bundle / "files").mkdir(parents=True)
    (bundle / "files" / "entrypoint.py").write_bytes(_CODE)
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    for path in (bundle, *bundle.rglob("*")):
        give(path, owner, 0o755)


def _take(trial: Trial, account: Account, home: Path) -> list[str]:
    words = ["call", f"{__name__}:take", str(home), str(trial.folder / "inbox")]
    taken: list[str] = json.loads(processes.call(account, trial.guard, words, home=home).splitlines()[-1])
    return taken


def take(home: str, inbox: str) -> None:
    """In a process of the agent's account: look once, as it does at its start; print which tasks there are."""
    from agent.intake.bundles import BundleIntake
    from agent.settings import AgentSettings
    from agent.spool.setup import prepare_spool
    from mltm.runtime.clock import Clock

    settings = AgentSettings(
        spool=Path(home) / "spool", inbox=Path(inbox), cluster="atena", credential_file=Path(home) / "credential"
    )
    spool = prepare_spool(settings, Clock()).spool
    BundleIntake(spool, settings, Clock()).scan()
    print(json.dumps([path.name for path in spool.tasks.iterdir() if not path.name.startswith(".")]))


def take_guard_out() -> None:
    """An agent that does not ask whose a bundle is."""
    from agent.intake import bundle_proof

    replace(bundle_proof.BundleProof, "_check_owner", lambda *_: None)


SCENARIO = Scenario(
    threats="1.9",
    tries_to="put bundles of another account where an agent looks that has no key yet",
    run=run,
    take_guard_out=take_guard_out,
    tries=8,
    control_tries=2,
)
