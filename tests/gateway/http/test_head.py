"""HEAD answers what GET would answer, without the body (RFC 9110, 9.3.2)."""

import asyncio
import json

import pytest

from gateway.http.endpoints.route_table import ROUTES
from mltm.contract import routes
from tests.gateway.fixtures import House

SHARED = ("Content-Type", "Cache-Control", "Content-Security-Policy", "X-Frame-Options")
QUICK = [
    route.document_path for route in ROUTES if route.method == "GET" and route.area in ("tasks", "users", "service")
]


@pytest.mark.parametrize("path", [*QUICK, routes.PREDECESSOR_TASKS])
async def test_head_has_the_header_of_get(house: House, path: str) -> None:
    task_id = await house.make_task()
    address = path.format(task_id=task_id, username="bob", file_name="docs.js")
    found, body, length = [], b"", None
    for method in ("GET", "HEAD"):
        async with house.client.request(method, address, headers=house.headers("alice")) as answer:
            found.append((answer.status, {name: answer.headers.get(name) for name in SHARED}))
            body, length = await answer.read(), answer.content_length

    assert body == b""
    assert length is not None
    assert found[0] == found[1]


@pytest.mark.parametrize(("asked", "status", "length"), [({}, 200, 9_000_000), ({"Range": "bytes=5-8"}, 206, 4)])
async def test_head_of_an_output_asks_the_agent_for_one_byte(
    house: House, asked: dict[str, str], status: int, length: int
) -> None:
    task_id = await house.make_task()
    path = routes.TASK_OUTPUT.replace("{path:.+}", "model.bin").format(task_id=task_id)
    reading = asyncio.create_task(house.client.head(path, headers={**house.headers("alice"), **asked}))
    (command,) = await house.agent.poll()
    await house.agent.bring(command, b"x" * 9_000_000)
    answer = await reading

    assert command["length"] == 1
    assert (answer.status, answer.content_length, await answer.read()) == (status, length, b"")
    assert answer.headers["X-Mltm-Size"] == "9000000"
    assert (await house.client.get(routes.HEALTH)).status == 200  # the connection is in order


async def test_head_of_a_log_has_no_body(house: House) -> None:
    task_id = await house.make_task()
    path = routes.TASK_LOG.format(task_id=task_id)
    reading = asyncio.create_task(house.client.head(path, headers=house.headers("alice")))
    (command,) = await house.agent.poll()
    await house.agent.bring(command, b"a line\n")
    answer = await reading

    assert (answer.status, answer.content_length, await answer.read()) == (200, 7, b"")
    assert (await house.client.get(routes.HEALTH)).status == 200


async def test_allow_names_head_beside_get(house: House) -> None:
    async with house.client.patch(routes.TASKS, headers=house.headers("alice")) as answer:
        assert answer.status == 405
        assert set(answer.headers["Allow"].split(",")) == {"GET", "HEAD", "POST"}
        assert json.loads(await answer.read())["key"] == "method_not_allowed"
