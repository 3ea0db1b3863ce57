"""Others fill the gateway's disk to its last byte: what is stored stays whole, and room alone brings all back."""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import requests

from attack.guards import replace
from attack.product import processes
from attack.product.house import PASSWORD, House, open_house
from attack.product.small_disk import small_disk
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_DISK = 48 * 1024 * 1024
_BACK_WITHIN_S = 20


def run(trial: Trial) -> None:
    """Each try fills the disk, asks for what writes and what reads, and makes room again."""
    data = trial.folder / "data"
    data.mkdir()
    settings = (f'data_dir = "{data}/gateway"', "min_free_bytes = 1_000_000")
    with small_disk(data, _DISK), open_house(trial, *settings) as house:
        agent = house.forge_agents("ann")["ann"]
        for _ in range(trial.tries):
            old = house.submit("ann", script=f"print(1)  # {'old' * 1000}\n")
            agent.report(old, "running", job_id="1")
            kept = _hash_all(data / "gateway" / "files")
            filler = _fill(data)
            harm = [told for what, ask in _list_asks(house, old) if (told := _judge(what, ask()))]
            harm += [] if _hash_all(data / "gateway" / "files").items() >= kept.items() else ["a stored file changed"]
            filler.unlink()
            harm += _find_lasting(house, data, old)
            trial.tally.count(harm[0] if harm else "")


def _fill(data: Path) -> Path:
    filler = data / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1024 * 1024, 4096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return filler


def _list_asks(house: House, task_id: str) -> Iterator[tuple[str, Callable[[], requests.Response]]]:
    script = {"config": ("config.json", "{}"), "script": ("script.py", "x" * 100_000)}
    login = {"username": "ann", "password": PASSWORD}
    yield from (
        ("a list", lambda: house.ask("ann", "GET", "/v1/tasks")),
        ("the old task", lambda: house.ask("ann", "GET", f"/v1/tasks/{task_id}")),
        ("a submission", lambda: house.ask("ann", "POST", "/v1/tasks", files=script)),
        ("a login", lambda: house.ask("", "POST", "/auth/login", data=login)),
        *[("a token", lambda: house.ask("ann", "POST", "/v1/tokens", json={"name": "n" * 60})) for _ in range(20)],
        ("a cancel", lambda: house.ask("ann", "POST", f"/v1/tasks/{task_id}/cancel")),
        ("the old task", lambda: house.ask("ann", "GET", f"/v1/tasks/{task_id}")),
    )


def _judge(what: str, answer: requests.Response) -> str:
    """A read is answered; a write is done, or it is said that the disk is full."""
    allowed = {200} if answer.request.method == "GET" else {200, 201, 202, 400, 422, 507}
    return "" if answer.status_code in allowed else f"{what} was answered {answer.status_code}"


def _hash_all(folder: Path) -> dict[str, str]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def _find_lasting(house: House, data: Path, old: str) -> Iterator[str]:
    """What is not as before although there is room again, without a restart."""

    def works() -> bool:
        return house.ask("ann", "POST", "/v1/tokens", json={"name": "after"}).status_code == 201

    try:
        processes.wait_until(works, "it works again", within_s=_BACK_WITHIN_S, pause_s=0.5)
        house.submit("ann")
    except (TimeoutError, requests.HTTPError) as error:
        yield f"it does not come back: {error}"
    if house.ask("ann", "GET", f"/v1/tasks/{old}").json().get("task_id") != old:
        yield "the old task is gone"
    with sqlite3.connect(f"file:{data}/gateway/gateway.sqlite?mode=ro", uri=True) as source:
        verdict = source.execute("PRAGMA integrity_check").fetchone()[0]
    if verdict != "ok":
        yield f"the database is damaged: {verdict}"


def take_guard_out() -> None:
    """A gateway for which a full disk is an error like any other."""
    from gateway.http import problems
    from gateway.services import disk
    from gateway.store import database

    assert callable(problems.guard)
    replace(disk, "is_disk_full", lambda _: False)
    replace(database, "_is_full", lambda _: False)


SCENARIO = Scenario(
    threats="T13",
    tries_to="break what is stored, or the gateway for good, by filling its disk to the last byte",
    run=run,
    take_guard_out=take_guard_out,
    tries=5,
    control_tries=1,
)
