"""Whoever can write an inbox plants links and pipes under the names that the gateway writes."""

import os
from pathlib import Path

from attack.accounts import give
from attack.guards import replace
from attack.product import processes
from attack.product.house import House, open_house
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_KEPT = b"a file of the gateway's account\n"


def run(trial: Trial) -> None:
    """Plant one thing after another; each time the gateway starts again, or a task is published."""
    with open_house(trial) as house:
        victim = house.home / "victim"
        victim.mkdir()
        give(victim, house.accounts["gateway"], 0o700)
        house.forge_agents("ann")
        plants = [(name, kind) for name in _NAMES for kind in ("file", "folder", "pipe")]
        for number in range(trial.tries):
            name, kind = plants[number % len(plants)]
            (victim / "database").write_bytes(_KEPT)
            give(victim / "database", house.accounts["gateway"], 0o600)
            told = _try(house, name, kind, victim)
            trial.tally.count(f"{kind} planted as {name}: {told}" if told else "")
            _clear(house.inbox("ann"), victim)


_NAMES = (".address.new", "address", "tmp", "new", ".", "tmp/{task}", "new/{task}")


def _try(house: House, name: str, kind: str, victim: Path) -> str:
    """What the attacker reached: a changed file, a new one, or a gateway that hangs."""
    if "{task}" in name:
        house.stop_gateway()
        house.start_gateway()
        name = name.replace("{task}", house.submit("ann"))
    path = house.inbox("ann") / name
    aside = path.with_name(f".aside-{path.name}")
    if os.path.lexists(path):
        path.rename(aside)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(victim / "database" if kind == "file" else victim)
    os.chown(path, house.accounts["ann"].uid, house.accounts["ann"].groups[0], follow_symlinks=False)
    return _work(house) or _find_harm(victim)


def _work(house: House) -> str:
    """Start again and take a task: the address is written, the bundle is published."""
    if not house.stop_gateway():
        house.start_gateway()
        return "the gateway did not end when it was asked"
    house.start_gateway()
    task_id = house.submit("ann")
    try:
        processes.wait_until(lambda: _was_tried(house, task_id), "the bundle was tried", within_s=20)
    except TimeoutError:
        return "the publisher hangs"
    return ""


def _was_tried(house: House, task_id: str) -> bool:
    text = house.log.read_text(encoding="utf-8", errors="replace")
    return any(task_id in line and "publish" in line for line in text.splitlines())


def _find_harm(victim: Path) -> str:
    names = sorted(path.name for path in victim.iterdir())
    if names != ["database"]:
        return f"the gateway's folder holds {names}"
    return "" if (victim / "database").read_bytes() == _KEPT else "a file of the gateway's was overwritten"


def _clear(inbox: Path, victim: Path) -> None:
    """Put the inbox back as it was, and remove what came into the victim's folder."""
    for path in sorted([*inbox.parent.rglob("*")], key=lambda each: -len(each.parts)):
        if path.is_symlink() or path.is_fifo():
            path.unlink()
    for aside in sorted(inbox.parent.rglob(".aside-*"), key=lambda each: len(each.parts)):
        aside.rename(aside.with_name(aside.name.removeprefix(".aside-")))
    for path in victim.iterdir():
        if path.name != "database":
            processes.remove(path)


def take_guard_out() -> None:
    """A gateway that follows links, waits for pipes, uses names that can be guessed, and does not tidy before."""
    import mltm.runtime.hostile_files as files

    vars(files)["_FOLDER"] &= ~os.O_NOFOLLOW
    vars(files)["NEW_FILE"] &= ~(os.O_NOFOLLOW | os.O_EXCL)
    replace(files, "make_private_name", lambda stem, suffix="": f"{stem}.new{suffix}")

    import gateway.services.spool_address as addresses

    replace(addresses, "_sweep", lambda *_: None)


SCENARIO = Scenario(
    threats="1.2, 3b.1",
    tries_to="plant links and pipes under the names that the gateway writes in an inbox",
    run=run,
    take_guard_out=take_guard_out,
    tries=21,
    control_tries=3,
)
