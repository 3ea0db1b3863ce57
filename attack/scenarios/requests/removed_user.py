"""A user is removed, and the name comes again: nobody has anything of the first one, and his secrets have ended."""

import json
from collections.abc import Iterator
from typing import Any

import requests

from attack.guards import replace
from attack.product.forged_agent import ForgedAgent
from attack.product.house import PASSWORD, House, open_house
from attack.trial import Scenario, Trial

__all__ = ["SCENARIOS"]


def run(trial: Trial) -> None:
    """Each round has a name of its own; a try is one thing that the first or the second user of it does."""
    with open_house(trial) as house:
        number = 0
        while trial.tally.tries < trial.tries:
            number += 1
            for what, is_harm in _play(house, f"guest{number}"):
                trial.tally.count(what if is_harm else "")


def _play(house: House, name: str) -> Iterator[tuple[str, bool]]:
    """`what somebody got`, and whether he did."""
    house.make_spool_of(name, "ann")
    house.tokens["first"] = _add(house, name)
    agent = house.forge_agents(name)[name]
    task_id = house.submit("first")
    agent.report(task_id, "running", job_id="1")
    (unused,) = house.make_codes(["--owner", name, "--inbox", str(house.inbox(name))])
    house.command([(["user", "remove", name], "")])
    yield "the token of a removed user works", house.ask("first", "GET", "/v1/me").status_code != 401
    yield "the agent of a removed user works", _works(agent)
    house.tokens["second"] = _add(house, name)
    yield "the first one's token works again", house.ask("first", "GET", "/v1/me").status_code != 401
    yield "the first one's agent works again", _works(agent)
    yield "the first one's code works", _enrols(house, unused)
    answer = house.ask("second", "GET", f"/v1/tasks/{task_id}")
    yield "the second one sees the first one's task", answer.status_code not in {403, 404}
    answer = house.ask("second", "POST", f"/v1/tasks/{task_id}/cancel")
    yield "the second one cancels the first one's task", answer.status_code not in {403, 404}
    yield "the second one's list has it", task_id in house.ask("second", "GET", "/v1/tasks").text


def _add(house: House, name: str) -> str:
    """Add a user; return a token of his."""
    adding = ["user", "add", name, "--password-stdin"]
    said = house.command([(adding, PASSWORD), (["token", "create", name, "--json"], "")])
    return str(json.loads(said[-1])["token"])


def _works(agent: ForgedAgent) -> bool:
    return agent.ask("GET", "/v1/agent/commands?wait=0").status_code != 401


def _enrols(house: House, code: str) -> bool:
    try:
        house.enrol(code)
    except requests.HTTPError:
        return False
    return True


def take_revocation_out() -> None:
    """A gateway where only the user's own row is removed; what is his goes on."""
    from gateway.store import users

    def remove(username: str, now: object) -> users.Removed:
        del now
        row = users._find_user(username)
        row.delete_instance()
        return users.Removed(row.user_id, 0, 0, 0)

    replace(users, "remove_user", remove)


def take_ids_out() -> None:
    """A gateway for which a name is a user: whoever has the name now has what was there under it."""
    import hashlib

    from gateway.store import users

    add_user = users.add_user

    def add(username: str, role: Any, password_hash: str | None, now: Any) -> Any:
        return add_user(username, role, password_hash, now, user_id=hashlib.sha256(username.encode()).hexdigest()[:32])

    replace(users, "add_user", add)


SCENARIOS = {
    "removed-user": Scenario(
        threats="1.10",
        tries_to="go on as a removed user, with his token, agent or code",
        run=run,
        take_guard_out=take_revocation_out,
        tries=24,
        control_tries=8,
        control_needs=2,
    ),
    "same-name": Scenario(
        threats="1.10",
        tries_to="have what was a removed user's, under his name",
        run=run,
        take_guard_out=take_ids_out,
        tries=24,
        control_tries=8,
        control_needs=3,
    ),
}
