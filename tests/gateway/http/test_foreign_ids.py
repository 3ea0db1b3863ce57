"""Every address of the route table x every caller x things of others: 403 or 404, and nothing happens.

The cases come from the route table. A route with a new kind of parameter, or without one, fails until it is classified.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from gateway.http.endpoints.route_table import ROUTES
from gateway.http.route import Route
from mltm.contract import routes
from tests.gateway.agent import FakeAgent
from tests.gateway.build import build_form, good_parts
from tests.gateway.fixtures import House, open_house

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPEN = {
    ("POST", routes.LOGIN): "whoever calls proves who he is with a password",
    ("POST", routes.AGENT_ENROL): "whoever calls proves what he may with a code",
    ("GET", routes.HEALTH): "nothing of a user",
    ("GET", routes.OPENAPI): "nothing of a user",
    ("GET", routes.DOCS): "nothing of a user",
    ("GET", routes.DOCS + "/{file_name}"): "nothing of a user",
}
# Routes that name nobody's things: they show or make the caller's own. Each is called, and its answer looked through.
OWN_ONLY = {
    ("GET", routes.TASKS), ("GET", routes.PREDECESSOR_TASKS), ("GET", routes.TOKENS), ("GET", routes.WHOAMI),
    ("POST", routes.TASKS), ("POST", routes.PREDECESSOR_NEW_TASK), ("POST", routes.TOKENS),
    ("PUT", routes.PASSWORD),
    ("GET", routes.AGENT_COMMANDS), ("POST", routes.AGENT_REPORTS), ("POST", routes.AGENT_HEARTBEAT),
}  # fmt: skip
# Parameters that name a thing of somebody; `path` only says which file of it.
NAMES = {"task_id", "job_id", "token_id", "command_id", "username"}
BESIDE = {"path"}


def classify(route: Route) -> str:
    """open, own (names nothing), admin, or foreign (names a thing of somebody)."""
    place = (route.method, route.path)
    names = {parameter.name for parameter in route.parameters if parameter.source == "path"}
    if route.find("user", "admin", "agent") is None:
        return "open" if place in OPEN else ""
    if not names <= NAMES | BESIDE:
        return ""
    if route.find("admin"):
        return "admin"
    return "foreign" if names else "own" if place in OWN_ONLY else ""


@dataclass(frozen=True)
class Stage:
    """A house where bob has things of every kind, and an agent of his own."""

    house: House
    bobs: FakeAgent
    alices: FakeAgent
    ids: dict[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with open_house(tmp_path_factory.mktemp("stage")) as house:
        bobs, alices = await house.enrol_agent("bob"), await house.enrol_agent("alice")
        task_id = await house.make_task("bob")
        await bobs.report(task_id, "running", job_id="471147114711")
        _, token = await house.call("POST", routes.TOKENS, "bob", json={"name": "of bob"})
        await house.call("POST", f"/v1/tasks/{task_id}/hold", "bob")
        (command,) = await bobs.poll(wait=0)
        ids = {"task_id": task_id, "job_id": "471147114711", "token_id": token["token_id"], "username": "bob"}
        yield Stage(house, bobs, alices, {**ids, "command_id": command["command_id"]})


def build_body(route: Route, stage: Stage) -> dict[str, Any]:
    """A good body, about bob's things if that is possible."""
    report = {**stage.bobs.build(stage.ids["task_id"], "failed"), "spool_id": stage.house.agent.spool_id}
    beat = {"version": "1", "host": "h", "pid": 1, "epoch": 1, "at": report["at"], "active_tasks": 0, "outbox": 0}
    bodies: dict[str, Any] = {
        routes.AGENT_ACK: {"outcome": "refused"}, routes.AGENT_REPORTS: {"reports": [report]},
        routes.AGENT_HEARTBEAT: beat, routes.TOKENS: {"name": "own"},
        routes.PASSWORD: {"current_password": "bob's, perhaps", "new_password": "five grey herons"},
    }  # fmt: skip
    if route.find("body"):
        return {"json": bodies[route.path]}
    if route.find("raw"):
        return {"data": b"1234", "headers": {"X-Mltm-Offset": "0", "X-Mltm-Size": "4", "X-Mltm-Final": "true"}}
    return {"data": build_form(good_parts())} if route.find("upload") else {}


async def call(stage: Stage, route: Route, who: str) -> tuple[int, Any]:
    """Call a route with bob's ids, as a user or as an agent."""
    body = build_body(route, stage)
    agents = {"the agent of all users": stage.house.agent, "alice's agent": stage.alices}
    proof = agents[who].headers if who in agents else stage.house.headers(who)
    headers = {**proof, **body.pop("headers", {})}
    path = route.document_path.format(**stage.ids, path="model.bin", file_name="x")
    return await stage.house.call(route.method, path, None, headers=headers, **body)


CALLABLE = [route for route in ROUTES if classify(route) not in ("", "open")]


def name_route(route: Route) -> str:
    return f"{route.method} {route.path}"


async def test_every_route_is_classified() -> None:
    unclassified = [name_route(route) for route in ROUTES if not classify(route)]

    assert unclassified == [], "Add it to OPEN or OWN_ONLY with care, or its parameter to NAMES and the fixture's ids."
    assert {(route.method, route.path) for route in ROUTES} >= OWN_ONLY | OPEN.keys()
    assert len([route for route in ROUTES if classify(route) == "foreign"]) >= 12


async def read_bobs(stage: Stage) -> tuple[Any, ...]:
    """Everything of bob's that a stranger could have changed."""
    task = (await stage.house.call("GET", f"/v1/tasks/{stage.ids['task_id']}", "bob"))[1]
    tokens = (await stage.house.call("GET", routes.TOKENS, "bob"))[1]
    commands = await stage.bobs.poll(wait=0)
    ours = [{**token, "last_used_at": None} for token in tokens]
    return {**task, "agent_silent_s": 0, "updated_at": ""}, ours, commands


def list_strangers(route: Route) -> tuple[str, ...]:
    return ("the agent of all users", "alice's agent") if route.find("agent") else ("alice",)


STRANGERS = [(route, who) for route in CALLABLE for who in list_strangers(route)]


@pytest.mark.parametrize(("route", "who"), STRANGERS, ids=[f"{name_route(route)} {who}" for route, who in STRANGERS])
async def test_a_stranger_gets_nothing_of_bobs_and_changes_nothing(stage: Stage, route: Route, who: str) -> None:
    before = await read_bobs(stage)
    status, answer = await call(stage, route, who)

    match classify(route):
        case "admin":
            assert (status, answer["key"]) == (403, "forbidden")
        case "foreign":
            assert status == 404, answer
        case _ if route.path == routes.PASSWORD:
            assert (status, answer["key"]) == (403, "wrong_password")
        case _:
            assert status in (200, 201), answer
            shown = str(answer).replace("of all users", "")
            assert [one for one in stage.ids.values() if one in shown and one != "bob"] == []
            assert "'owner': 'bob'" not in shown
    if route.path == routes.AGENT_REPORTS:
        assert [outcome["outcome"] for outcome in answer["outcomes"]] == ["refused"]
    assert await read_bobs(stage) == before


@pytest.mark.parametrize("route", CALLABLE, ids=name_route)
async def test_a_proof_of_another_kind_is_none(stage: Stage, route: Route) -> None:
    for who in ("root", "alice") if route.find("agent") else ("the agent of all users", "alice's agent"):
        assert (await call(stage, route, who))[0] == 401


@pytest.mark.parametrize("route", [r for r in CALLABLE if classify(r) == "foreign"], ids=name_route)
async def test_the_owner_himself_is_not_refused(stage: Stage, route: Route, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this a matrix of wrong addresses would pass, too."""
    if route.method == "DELETE" or route.find("agent"):
        return await check_own(stage, route)
    monkeypatch.setattr("gateway.http.endpoints.outputs.AGENT_WAIT_S", 0.0)
    assert (await call(stage, route, "bob"))[0] in (200, 504)
    return None


async def check_own(stage: Stage, route: Route) -> None:
    """What can be done once only is done to a thing of its own."""
    if route.find("agent"):
        path = route.document_path.format(**stage.ids)
        body = build_body(route, stage)
        headers = {**stage.bobs.headers, **body.pop("headers", {})}
        assert (await stage.house.call(route.method, path, None, headers=headers, **body))[0] in (200, 422)
        return
    _, token = await stage.house.call("POST", routes.TOKENS, "bob", json={"name": "short"})
    path = route.document_path.format(token_id=token["token_id"])
    assert (await stage.house.call(route.method, path, "bob"))[0] == 204
