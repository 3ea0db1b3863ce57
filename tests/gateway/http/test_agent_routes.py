"""Every route of agents, called by the wrong agent, twice, too late, and with other bytes than were asked for."""

import asyncio
import io
from typing import Any

import aiohttp
import pytest

from gateway.http.endpoints import outputs
from gateway.http.endpoints.route_table import ROUTES
from gateway.store.models import CachedBytes, Command, StoredReport
from mltm.contract import routes
from tests.gateway.agent import START, FakeAgent
from tests.gateway.fixtures import House
from tests.gateway.services.test_cluster_files import LOG, read

FILE = {"path": "p", "size": 1, "modified_at": START.isoformat()}
#: How an agent reaches the task of another one at each of its routes. None: the route names no task.
FOREIGN: dict[str, str | None] = {
    routes.AGENT_ENROL: None,  # tests/gateway/services/test_agents.py: whose spool it is
    routes.AGENT_HEARTBEAT: None,
    routes.AGENT_REPORTS: "report",
    routes.AGENT_COMMANDS: "poll",
    routes.AGENT_ACK: "ack",
    routes.AGENT_BYTES: "bytes",
}


def test_every_route_of_agents_is_in_the_table() -> None:
    assert {route.document_path for route in ROUTES if route.area == "agents"} == set(FOREIGN)


def test_every_route_of_agents_and_of_bytes_has_a_lane() -> None:
    bounded = {route.document_path for route in ROUTES if route.lane}

    assert bounded >= {route.document_path for route in ROUTES if route.find("agent")}
    assert bounded >= {routes.TASK_LOG, routes.TASK_OUTPUTS, routes.TASK + "/outputs/{path}"}


async def put(agent: FakeAgent, command_id: str, data: bytes, **headers: str) -> tuple[int, Any]:
    """Deliver bytes; status and answer."""
    known = {"X-Mltm-Offset": "0", "X-Mltm-Size": str(len(data)), "X-Mltm-Final": "true"}
    named = {f"X-Mltm-{name}": value for name, value in headers.items()}
    path = routes.AGENT_BYTES.format(command_id=command_id)
    async with agent.client.put(path, data=io.BytesIO(data), headers={**agent.headers, **known, **named}) as answer:
        return answer.status, await answer.json()


async def ask(
    house: House, task_id: str, path: str = "log", *, who: str = "alice", **params: str
) -> tuple[Any, dict[str, Any]]:
    """Ask for something of a task: the request that waits, and the command that came of it."""
    asking = asyncio.create_task(read(house, f"/v1/tasks/{task_id}/{path}", who, params=params))
    (command,) = await house.agent.poll()
    return asking, command


@pytest.mark.parametrize("way", [way for way in FOREIGN.values() if way])
async def test_an_agent_reaches_nothing_of_another_ones_task(house: House, way: str) -> None:
    task_id = await house.make_task("bob")
    other = await house.enrol_agent("alice")
    asking, command = await ask(house, task_id, who="bob")

    match way:
        case "report":
            manifest = {
                "task_id": task_id, "owner": "alice", "cluster": "atena02", "submitted_at": START.isoformat(),
                "script_name": "s.py", "config": {}, "files": [],
            }  # fmt: skip
            for fields in ({}, {"manifest": manifest}, {"spool_id": house.agent.spool_id}):
                (outcome,) = await other.send({**other.build(task_id, "succeeded"), **fields})
                assert (outcome["outcome"], bool(outcome["message"])) == ("refused", True)
        case "poll":
            assert await other.poll(wait=0) == []
        case "ack":
            assert await other.acknowledge(command["command_id"], outcome="refused", message="no") == 404
        case _:
            assert (await put(other, command["command_id"], b"forged"))[0] == 404

    # Nothing changed: its own agent answers, and the task is where it was.
    assert await house.agent.bring(command, LOG) == 200
    assert (await asking)[:2] == (200, LOG)
    assert (await house.call("GET", f"/v1/tasks/{task_id}", "bob"))[1]["state"] == "accepted"
    assert await house.in_database(lambda: StoredReport.select().count()) == 0


@pytest.mark.parametrize("command_id", ["0" * 32, "x", "%2e%2e%2freports", "a" * 4000])
async def test_a_command_that_is_not_there_is_404(house: House, command_id: str) -> None:
    assert await house.agent.acknowledge(command_id) == 404
    assert (await put(house.agent, command_id, b"x"))[0] == 404
    assert list(house.settings.cache.iterdir()) == []


async def test_what_was_answered_once_stays_so(house: House) -> None:
    task_id = await house.make_task()
    await house.agent.report(task_id, "succeeded")
    asking, command = await ask(house, task_id, attempt="1")
    assert await house.agent.bring(command, LOG) == 200
    assert (await asking)[1] == LOG

    assert (await put(house.agent, command["command_id"], b"other"))[0] == 200
    assert await house.agent.acknowledge(command["command_id"], outcome="refused", message="no") == 200

    assert (await read(house, f"/v1/tasks/{task_id}/log", params={"attempt": "1"}))[:2] == (200, LOG)
    row = await house.in_database(lambda: Command.get_by_id(command["command_id"]).outcome)
    assert row == "done"


async def test_bytes_after_a_refusal_are_not_kept(house: House) -> None:
    task_id = await house.make_task()
    asking, command = await ask(house, task_id)
    assert await house.agent.acknowledge(command["command_id"], outcome="refused", message="no") == 200
    assert (await asking)[0] == 404

    assert (await put(house.agent, command["command_id"], LOG))[0] == 200
    assert await house.in_database(lambda: CachedBytes.select().count()) == 0
    assert list(house.settings.cache.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "params", "data", "headers"),
    [
        ("log", {"length": "64"}, b"x" * 65, {}),
        ("log", {"length": "64"}, b"x" * 1_000_000, {}),
        ("log", {"offset": "10"}, b"x", {"Offset": "9", "Size": "100"}),
        ("log", {"offset": "10"}, b"x", {"Offset": "100", "Size": "100"}),
        ("log", {"attempt": "2"}, b"x", {"Attempt": "1"}),
        ("log", {}, b"x", {"Attempt": "0"}),
        ("log", {}, b"x", {"Attempt": str(2**63)}),
        ("log", {}, b"x", {"Offset": "-1"}),
        ("log", {}, b"x", {"Size": str(2**63)}),
        ("log", {}, b"x", {"Final": "perhaps"}),
        ("outputs/x", {}, b"x", {"Offset": "5", "Size": "100"}),
    ],
)
async def test_other_bytes_than_were_asked_for_are_refused_and_the_command_stays(
    house: House, path: str, params: dict[str, str], data: bytes, headers: dict[str, str]
) -> None:
    task_id = await house.make_task()
    asking, command = await ask(house, task_id, path, **params)

    status, problem = await put(house.agent, command["command_id"], data, **headers)

    assert (status, problem["status"]) == (422, 422)
    assert await house.in_database(lambda: CachedBytes.select().count()) == 0
    assert [each["command_id"] for each in await house.agent.poll(wait=0)] == [command["command_id"]]
    assert list(house.settings.cache.glob("*")) == []
    whole = b"0123456789abc"
    assert await house.agent.bring(command, whole) == 200
    assert (await asking)[:2] == (200, whole[command.get("offset", 0) :][: command["length"]])


async def test_an_end_of_nothing_hides_nothing(house: House) -> None:
    task_id = await house.make_task()
    await house.agent.report(task_id, "succeeded")
    asking, command = await ask(house, task_id)
    assert (await put(house.agent, command["command_id"], b"", Attempt="1"))[0] == 200
    assert (await asking)[:2] == (200, b"")

    asking, command = await ask(house, task_id)
    assert await house.agent.bring(command, LOG, attempt=1) == 200
    assert (await asking)[1] == LOG


async def test_two_deliveries_at_once_do_not_mix(house: House) -> None:
    task_id = await house.make_task()
    asking, command = await ask(house, task_id)
    began, go_on = asyncio.Event(), asyncio.Event()

    async def send_slowly() -> Any:
        yield LOG[:10]
        began.set()
        await go_on.wait()
        yield LOG[10:]

    path = routes.AGENT_BYTES.format(command_id=command["command_id"])
    headers = {"X-Mltm-Offset": "0", "X-Mltm-Size": str(len(LOG)), "X-Mltm-Final": "true"}
    first = asyncio.create_task(
        house.client.session.put(house.url + path, data=send_slowly(), headers={**house.agent.headers, **headers})
    )
    await began.wait()
    async with asyncio.timeout(10):
        while not list(house.settings.cache.glob("*.part")):  # noqa: ASYNC110 - a file of another thread
            await asyncio.sleep(0.005)

    status, problem = await put(house.agent, command["command_id"], b"other")
    assert (status, problem["key"]) == (409, "delivery_under_way")
    go_on.set()
    assert (await first).status == 200
    assert (await asking)[1] == LOG


async def test_a_delivery_that_breaks_off_leaves_nothing_and_may_be_repeated(house: House) -> None:
    task_id = await house.make_task()
    asking, command = await ask(house, task_id)

    async def break_off() -> Any:
        yield LOG[:10]
        raise ConnectionResetError

    path = routes.AGENT_BYTES.format(command_id=command["command_id"])
    headers = {"X-Mltm-Offset": "0", "X-Mltm-Size": str(len(LOG)), "X-Mltm-Final": "true"}
    with pytest.raises((aiohttp.ClientError, ConnectionResetError)):
        await house.client.session.put(house.url + path, data=break_off(), headers={**house.agent.headers, **headers})

    async with asyncio.timeout(10):
        while (status := await house.agent.bring(command, LOG)) == 409:  # noqa: ASYNC110 - until the first one has ended
            await asyncio.sleep(0.005)
    assert status == 200
    assert (await asking)[1] == LOG
    assert [path.name for path in house.settings.cache.iterdir()] == [command["command_id"]]


async def test_files_on_an_acknowledgement_of_something_else_are_not_kept(house: House) -> None:
    task_id = await house.make_task()
    await house.call("POST", f"/v1/tasks/{task_id}/cancel")
    (command,) = await house.agent.poll(wait=0)

    assert await house.agent.acknowledge(command["command_id"], outputs=[FILE] * 1000) == 200

    row = await house.in_database(lambda: Command.get_by_id(command["command_id"]))
    assert len(str(row.answer)) < 200


async def test_a_poll_brings_all_requests_and_a_few_questions_of_each_user(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "AGENT_WAIT_S", 0.02)
    mine, his = await house.make_task(), await house.make_task("bob")
    for n in range(30):
        await read(house, f"/v1/tasks/{mine}/outputs/x", headers={"Range": f"bytes={n}-{n}"})
    await read(house, f"/v1/tasks/{his}/outputs/y", who="bob")
    for _ in range(2):
        await house.call("POST", f"/v1/tasks/{mine}/hold")
        await house.call("POST", f"/v1/tasks/{mine}/release")
    await house.call("POST", f"/v1/tasks/{his}/cancel", "bob")

    kinds = [(each["kind"], each["task_id"]) for each in await house.agent.poll(wait=0)]

    assert [kind for kind, _ in kinds] == ["hold", "release", "hold", "release", "cancel"] + ["send_bytes"] * 8
    assert kinds[5:7] == [("send_bytes", mine), ("send_bytes", his)]


async def test_a_user_with_many_requests_at_once_is_told_when_to_come_and_others_are_served(house: House) -> None:
    mine, his = await house.make_task(), await house.make_task("bob")
    path = f"/v1/tasks/{mine}/outputs/x"
    waiting = [asyncio.create_task(read(house, path, headers={"Range": f"bytes={n}-{n}"})) for n in range(8)]
    while len(seen := await house.agent.poll()) < 8:  # noqa: ASYNC110 - until all have asked
        await asyncio.sleep(0)

    status, body, headers = await read(house, path, headers={"Range": "bytes=9-9"})
    assert (status, headers["Retry-After"], b"too_many_at_once" in body) == (429, "1", True)
    assert (await house.call("GET", f"/v1/tasks/{mine}"))[0] == 200
    asking = asyncio.create_task(read(house, f"/v1/tasks/{his}/log", who="bob"))
    for command in seen:
        assert await house.agent.bring(command, LOG) == 200
    (command,) = [each for each in await house.agent.poll() if each["task_id"] == his]
    assert await house.agent.bring(command, LOG) == 200
    assert {answer[0] for answer in await asyncio.gather(*waiting)} == {206}
    assert (await asking)[0] == 200
    # All have ended: there is room again.
    asking, command = await ask(house, mine)
    assert await house.agent.bring(command, LOG) == 200
    assert (await asking)[0] == 200
