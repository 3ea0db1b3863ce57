"""A user asks for what belongs to another, by its id: every address with an id, every user who is not its owner."""

from collections.abc import Iterator

import requests

from attack.guards import replace
from attack.product.house import House, open_house
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_TASK = (
    ("GET", "/v1/tasks/{task}"), ("POST", "/v1/tasks/{task}/cancel"), ("POST", "/v1/tasks/{task}/hold"),
    ("POST", "/v1/tasks/{task}/release"), ("GET", "/v1/tasks/{task}/log"), ("GET", "/v1/tasks/{task}/outputs"),
    ("GET", "/v1/tasks/{task}/outputs/model.bin"), ("GET", "/task/{task}"), ("GET", "/task/{job}"),
    ("GET", "/job_status/{task}"), ("GET", "/job_status/{job}"), ("DELETE", "/v1/tokens/{token}"),
    ("GET", "/users"), ("GET", "/users/{owner}"),
)  # fmt: skip
_REFUSED_WITHIN_S = 15
_SPELLINGS = (str, str.upper, lambda text: f"{text[:8]}-{text[8:12]}-{text[12:]}", lambda text: f"{text}/")


def run(trial: Trial) -> None:
    """Ask for ann's as ben and for ben's as ann, as often as there are tries."""
    with open_house(trial) as house:
        known = {name: _own(house, name, number) for number, name in enumerate(("ann", "ben"))}
        attempts = list(_list_attempts(known))
        trial.rng.shuffle(attempts)
        for number in range(trial.tries):
            attacker, method, path = attempts[number % len(attempts)]
            status = _ask(house, attacker, method, path)
            wrong = status not in {403, 404}
            trial.tally.count(f"{attacker}: {method} {path} was answered {status or 'late'}" if wrong else "")


def _ask(house: House, attacker: str, method: str, path: str) -> int:
    """The status; 0 where the gateway waits for the owner's agent, which it never asks for a stranger."""
    try:
        return house.ask(attacker, method, path, timeout=_REFUSED_WITHIN_S).status_code
    except requests.Timeout:
        return 0


def _own(house: House, name: str, number: int) -> dict[str, str]:
    """What a user has: a task whose job is known, and a token."""
    agent = house.forge_agents(name)[name]
    task, job = house.submit(name), str(4711 + number)
    agent.report(task, "running", job_id=job)
    token = house.ask(name, "POST", "/v1/tokens", json={"name": "own"}).json()["token_id"]
    return {"task": task, "job": job, "token": token, "owner": name}


def _list_attempts(known: dict[str, dict[str, str]]) -> Iterator[tuple[str, str, str]]:
    for attacker, owner in (("ann", "ben"), ("ben", "ann")):
        for method, path in _TASK:
            for spell in _SPELLINGS:
                names = {name: spell(value) if name != "owner" else value for name, value in known[owner].items()}
                yield attacker, method, path.format(**names)


def take_guard_out() -> None:
    """A gateway that finds a task by its id alone."""
    import gateway.store.tasks as rows
    from gateway.errors import NotFoundError
    from gateway.store.models import Task

    def find_any(_: object, task_id: str) -> Task:
        row: Task | None = Task.get_or_none(Task.task_id == task_id)
        if row is None:
            raise NotFoundError("There is no such task.")
        return row

    replace(rows, "find_task", find_any)


SCENARIO = Scenario(
    threats="T14",
    tries_to="read, cancel, hold and download what belongs to another user, by its id",
    run=run,
    take_guard_out=take_guard_out,
    tries=224,
    control_tries=14,
)
