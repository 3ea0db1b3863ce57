"""A forged address file in the inbox, which leads to a listener of the attacker's: the credential never gets there."""

import asyncio
import os
import socket
import threading
from pathlib import Path

from attack.accounts import give
from attack.guards import replace
from attack.product import processes
from attack.product.house import CLUSTER, House, open_house
from attack.trial import Scenario, Trial
from mltm.contract.proofs import render_address

__all__ = ["SCENARIO", "call_gateway"]

_KINDS = (
    "another's key",
    "another's spool",
    "no proof",
    "the proof of another address",
    "no file of that form",
    "a link",
)


def run(trial: Trial) -> None:
    """Ann's agent has no address in its config; ben can write to its inbox, and has a spool's key of his own."""
    with open_house(trial) as house, socket.create_server(("127.0.0.1", 0)) as listening:
        heard: list[bytes] = []
        threading.Thread(target=_listen, args=(listening, heard), daemon=True).start()
        config = _enrol(house)
        ben = house.forge_agents("ben")["ben"]
        place, key = house.inbox("ann") / "address", bytes.fromhex(ben.spool_key)
        genuine = place.read_bytes()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        ann_id = (house.spool("ann") / "agent" / "spool_id").read_text(encoding="ascii").strip()
        forged = {
            "another's key": render_address(url, ann_id, key),
            "another's spool": render_address(url, ben.spool_id, key),
            "no proof": f'{{"kind": "address", "url": "{url}", "proof": ""}}'.encode(),
            "the proof of another address": genuine.replace(house.url.encode(), url.encode()),
            "no file of that form": url.encode(),
        }  # fmt: skip
        for number in range(trial.tries):
            kind = _KINDS[number % len(_KINDS)]
            _put(house, place, forged.get(kind, forged["another's key"]), is_link=kind == "a link")
            words = ["call", f"{__name__}:call_gateway", str(config)]
            said = processes.call(house.accounts["ann"], house.guard, words, home=config.parent)
            is_refused = "is not followed" in said or f"Cannot read {place}" in said
            told = "the credential came" if any(b"Bearer " in data for data in heard) else "" if is_refused else said
            trial.tally.count(f"{kind}: {told[:80]}" if told else "")
            heard.clear()


def _listen(listening: socket.socket, heard: list[bytes]) -> None:
    while True:
        try:
            accepted, _ = listening.accept()
        except OSError:
            return  # the trial is over
        with accepted:
            heard.append(accepted.recv(65_536))


def _enrol(house: House) -> Path:
    account, home = house.accounts["ann"], house.folder / "ann"
    config = home / "agent.toml"
    lines = [
        f'spool = "{house.spool("ann")}"', f'inbox = "{house.inbox("ann")}"', f'cluster = "{CLUSTER}"',
        f'credential_file = "{home}/credential"', 'runtime = "none"',
    ]  # fmt: skip
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    give(config, account, 0o600)
    (code,) = house.make_codes(["--owner", "ann", "--inbox", str(house.inbox("ann"))])
    words = ["agent", "enroll", "--config", str(config), "--gateway", house.url, "--code-stdin"]
    processes.call(account, house.guard, words, home=home, stdin=f"{code}\n")
    house.stop_gateway()
    house.start_gateway()  # it writes its address at its start
    return config


def _put(house: House, place: Path, data: bytes, *, is_link: bool) -> None:
    """As somebody who can write to the inbox: a file of his, or a link to one."""
    target = house.folder / "forged" if is_link else place
    for path in {target, place}:
        path.unlink(missing_ok=True)
    target.write_bytes(data)
    give(target, house.accounts["ben"], 0o644)
    if is_link:
        place.symlink_to(target)
        os.chown(place, house.accounts["ben"].uid, house.accounts["ben"].uid, follow_symlinks=False)


def call_gateway(config: str) -> None:
    """In a process of the agent's account: one call of the gateway, as the agent makes it; print what came of it."""
    from agent.check.checks import _check_gateway
    from agent.errors import AgentError
    from agent.settings import read_settings

    try:
        print(asyncio.run(_check_gateway(read_settings(Path(config)))).message)
    except AgentError as error:
        print(error)


def take_guard_out() -> None:
    """An agent that follows any file of that name."""
    from mltm.contract import proofs

    replace(proofs, "is_proof", lambda *_: True)


SCENARIO = Scenario(
    threats="1.10",
    tries_to="lead an agent to a listener of the attacker's by a forged address file",
    run=run,
    take_guard_out=take_guard_out,
    tries=24,
    control_tries=2,
)
