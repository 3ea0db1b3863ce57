"""429, 503 and 507 stand in the OpenAPI document for the routes where they can come, and for no other."""

import json
from http import HTTPMethod
from typing import Any

import pytest

from gateway.errors import DiskFullError, UnavailableError
from gateway.http.endpoints import outputs
from gateway.http.endpoints.route_table import ROUTES
from gateway.http.route import Route
from gateway.store.database import Database
from mltm.contract import routes
from tests.gateway.build import build_form, good_parts
from tests.gateway.fixtures import PASSWORD, House
from tests.gateway.http.test_junk import read_examples

ADDRESSES = [f"{route.method} {route.document_path}" for route in ROUTES]


async def build_good_requests(house: House) -> dict[str, dict[str, Any]]:
    """A good request for each route."""
    task_id = await house.make_task("root")
    await house.call("GET", f"/v1/tasks/{task_id}/log", "root")
    (command,) = await house.agent.poll(wait=0)
    _, token = await house.call("POST", routes.TOKENS, "root", json={"name": "x"})
    examples = read_examples(house, task_id)
    examples[routes.AGENT_ENROL]["code"] = await house.make_code(None, house.agent.spool)
    ids = {"task_id": task_id, "job_id": task_id, "command_id": command["command_id"], "token_id": token["token_id"]}
    return {
        address: build_request(house, route, ids, examples) for address, route in zip(ADDRESSES, ROUTES, strict=True)
    }


def build_request(house: House, route: Route, ids: dict[str, str], examples: dict[str, Any]) -> dict[str, Any]:
    file_name = "docs.js" if route.path.startswith(routes.DOCS) else "x"
    address = route.document_path.format(**ids, username="bob", path="x", file_name=file_name)
    request: dict[str, Any] = {"headers": house.agent.headers if route.find("agent") else house.headers("root")}
    if route.find("body"):
        request["json"] = examples[route.path]
    elif route.find("form"):
        request["data"] = {"username": "root", "password": PASSWORD}
    elif route.find("upload"):
        request["data"] = build_form(good_parts())
    elif route.find("raw"):
        request["data"] = b"1234"
        request["headers"] = request["headers"] | {"X-Mltm-Offset": "0", "X-Mltm-Size": "4", "X-Mltm-Final": "true"}
    return {"method": route.method, "address": address, **request}


async def read_listed(house: House) -> dict[str, set[str]]:
    _, document = await house.call("GET", routes.OPENAPI, None)
    return {
        f"{route.method} {route.document_path}": set(
            document["paths"][route.document_path][HTTPMethod(route.method).lower()]["responses"]
        )
        for route in ROUTES
    }


@pytest.fixture
async def quick_house(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    async def wait_not(*_: object) -> bool:
        return False

    monkeypatch.setattr("gateway.services.agents.wait_for_event", wait_not)
    monkeypatch.setattr(outputs, "AGENT_WAIT_S", 0.0)
    return house


async def ask_all(house: House, requests: dict[str, dict[str, Any]]) -> dict[str, int]:
    found = {}
    for name, request in requests.items():
        made = {key: value for key, value in request.items() if key not in ("method", "address")}
        async with house.client.session.request(
            request["method"], house.client.make_url(request["address"]), **made
        ) as answer:
            await answer.read()
            found[name] = answer.status
    return found


async def test_507_is_listed_where_something_is_written(quick_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    requests, listed = await build_good_requests(quick_house), await read_listed(quick_house)
    requests[f"PUT {routes.PASSWORD}"]["json"]["current_password"] = PASSWORD  # a wrong one writes nothing

    async def refuse(*_: object) -> object:
        raise DiskFullError("full")

    monkeypatch.setattr(Database, "call", refuse)
    statuses = await ask_all(quick_house, requests)

    assert {name for name, status in statuses.items() if status == 507} == {
        name for name, known in listed.items() if "507" in known
    }
    assert 500 not in statuses.values()


async def test_503_is_listed_where_the_database_is_used(quick_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    requests, listed = await build_good_requests(quick_house), await read_listed(quick_house)

    async def refuse(*_: object) -> object:
        raise UnavailableError("/secret/path is away", public_detail="The database is away.")

    monkeypatch.setattr(Database, "call", refuse)
    monkeypatch.setattr(Database, "read", refuse)
    statuses = await ask_all(quick_house, requests)

    assert {name for name, status in statuses.items() if status == 503} == {
        name for name, known in listed.items() if "503" in known
    }
    assert 500 not in statuses.values()


async def test_408_and_413_are_listed_where_a_body_is_read(house: House) -> None:
    listed = await read_listed(house)
    with_body = {
        name for name, route in zip(ADDRESSES, ROUTES, strict=True) if route.find("body", "form", "upload", "raw")
    }

    assert {name for name, known in listed.items() if "408" in known} == with_body
    assert {name for name, known in listed.items() if "413" in known} == with_body


async def test_504_is_listed_where_an_agent_answers(quick_house: House) -> None:
    requests, listed = await build_good_requests(quick_house), await read_listed(quick_house)
    statuses = await ask_all(quick_house, requests)

    assert {name for name, status in statuses.items() if status == 504} == {
        name for name, known in listed.items() if "504" in known
    }


async def test_429_is_listed_where_a_caller_has_a_limit(quick_house: House) -> None:
    requests, listed = await build_good_requests(quick_house), await read_listed(quick_house)
    quick_house.settings.__dict__["max_requests_per_user"] = 0
    statuses = await ask_all(quick_house, requests)

    limited = {name for name, status in statuses.items() if status == 429}
    assert limited | {f"POST {routes.LOGIN}", f"POST {routes.AGENT_ENROL}"} == {
        name for name, known in listed.items() if "429" in known
    }


async def test_nothing_of_a_private_message_leaves(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> object:
        raise UnavailableError("/secret/path is away", public_detail="The database is away.")

    monkeypatch.setattr(Database, "read", refuse)
    for who in (None, "alice"):
        _, health = await house.call("GET", routes.HEALTH, who)
        assert "/secret" not in json.dumps(health)
    status, problem = await house.call("GET", routes.WHOAMI)
    assert (status, problem["detail"]) == (503, "The database is away.")
