"""One agent's worst batches: they are stored in short transactions, and others come in between."""

import asyncio
import io
import json
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.http import arguments
from gateway.services import agents as services
from gateway.store.prepared import PreparedReport
from gateway.store.reports import store_reports
from gateway.values import AgentIdentity
from mltm.contract import routes
from mltm.contract.base_models import MAX_INT64
from tests.gateway.fixtures import House

TEXT = "x" * 8_192


def build_worst(house: House, task_ids: Sequence[str], count: int = 200, **fields: object) -> list[dict[str, object]]:
    """Reports with the longest texts."""
    note = {"kind": "attention", "message": TEXT}
    texts = {"message": TEXT, "node": TEXT[:1024], "job_id": "7_[1-9]%3", "note": note, **fields}
    return [house.agent.build(task_ids[n % len(task_ids)], "running", **texts) for n in range(count)]


async def test_others_are_served_between_the_parts_of_a_batch(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id, other = await house.make_task(), await house.make_task("bob")
    loop, order = asyncio.get_running_loop(), list[str]()
    reading: list[asyncio.Task[Any]] = []

    user = await authenticate(house, "bob")

    async def read_now() -> None:
        await house.services.tasks.read(user, other)
        order.append("read")

    def store(agent: AgentIdentity, part: list[PreparedReport], *more: Any) -> Any:
        order.append("part")
        loop.call_soon_threadsafe(lambda: reading.append(loop.create_task(read_now())))
        return store_reports(agent, part, *more)

    monkeypatch.setattr(services, "store_reports", store)
    outcomes = await house.agent.send(*build_worst(house, [task_id]))
    await asyncio.gather(*reading)

    assert {outcome["outcome"] for outcome in outcomes} == {"taken"}
    assert order.count("part") >= 10
    # Whoever asks while a part is stored is served before the next but one.
    assert max(len(run) for run in " ".join(order).split("read")) <= len(" part part ")


async def authenticate(house: House, who: str) -> Any:
    return await house.services.users.authenticate(house.tokens[who])


@pytest.mark.parametrize(
    "fields",
    [
        {"attempt": MAX_INT64}, {"epoch": MAX_INT64}, {"seq": MAX_INT64}, {"exit_code": -(2**31), "signal": 2**31 - 1},
        {"elapsed_s": 1e308}, {"job_id": "x" * 64}, {"job_id": "0"}, {"at": "0001-01-01T00:00:00Z"},
        {"at": "9999-12-31T23:59:59Z", "started_at": "0001-01-01T00:00:00Z", "ended_at": "9999-12-31T23:59:59Z"},
    ],
)  # fmt: skip
async def test_what_is_at_the_edge_is_stored_and_shown(house: House, fields: dict[str, object]) -> None:
    task_id = await house.make_task()
    report = {**house.agent.build(task_id, "running"), **fields}

    assert [outcome["outcome"] for outcome in await house.agent.send(report, report)] == ["taken", "known"]

    for who, path in (("alice", f"/v1/tasks/{task_id}"), ("root", routes.TASKS), ("root", "/tasks")):
        assert (await house.call("GET", path, who))[0] == 200


async def test_many_tasks_with_many_attempts_are_stored_and_listed_in_part(house: House) -> None:
    task_ids = [await house.make_task() for _ in range(3)]
    reports = [house.agent.build(task_ids[n % 3], "running", attempt=1 + n // 3, message=TEXT) for n in range(200)]

    assert {outcome["outcome"] for outcome in await house.agent.send(*reports)} == {"taken"}

    rows = (await house.call("GET", routes.TASKS, "root"))[1]["tasks"]
    assert [len(row["attempts"]) for row in rows] == [20] * 3


def nest(depth: int) -> str:
    return '{"x":' * depth + "1" + "}" * depth


@pytest.mark.parametrize(
    ("config", "outcome"),
    [
        ('{"x": NaN}', "refused"), ('{"x": -Infinity}', "refused"), ('{"x": ' + "9" * 4200 + "}", "taken"),
        ('{"x": ' + "9" * 5000 + "}", 422), (nest(100), "taken"), (nest(5000), 422), ('{"x": "\\ud800"}', 422),
        ('{"x": [' + "[]," * 40_000 + "1]}", "taken"),
        ('{"x": [' + "[]," * 100_000 + "1]}", 413), ('{"x": [' + "1," * 150_000 + "1]}", 413),
        ('{"x": "' + "y" * 9_000_000 + '"}', 413),
    ],
)  # fmt: skip
async def test_a_manifest_of_any_shape_breaks_nothing(house: House, config: str, outcome: object) -> None:
    task_id, known = "5" * 32, await house.make_task()
    manifest = {
        "task_id": task_id, "owner": "svc", "cluster": "atena02", "submitted_at": "2026-01-01T00:00:00Z",
        "script_name": "s.py", "config": "CONFIG", "files": [], "source": "drop",
    }  # fmt: skip
    reports = [house.agent.build(task_id, "pending", manifest=manifest), house.agent.build(known, "running")]
    body = json.dumps({"reports": reports}).replace('"CONFIG"', config)
    headers = {**house.agent.headers, "Content-Type": "application/json"}

    status, answer = await house.call(
        "POST", routes.AGENT_REPORTS, None, data=io.BytesIO(body.encode()), headers=headers
    )

    if isinstance(outcome, int):
        assert (status, answer["status"]) == (outcome, outcome)
    else:
        assert (status, [each["outcome"] for each in answer["outcomes"]]) == (200, [outcome, "taken"])
    assert (await house.call("GET", routes.TASKS, "root"))[0] == 200


async def test_a_second_batch_of_an_agent_waits_for_the_first_and_is_told_when_to_come(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id, other = await house.make_task(), await house.enrol_agent("alice")
    began, go_on = asyncio.Event(), asyncio.Event()
    read_body = arguments._read_body

    async def read_slowly(request: Any, limit: int) -> bytes:
        if request.path == routes.AGENT_REPORTS and not began.is_set():
            began.set()
            await go_on.wait()
        return await read_body(request, limit)

    monkeypatch.setattr(arguments, "_read_body", read_slowly)
    first = asyncio.create_task(house.agent.report(task_id, "running"))
    await began.wait()

    async with house.client.post(
        routes.AGENT_REPORTS, json={"reports": [house.agent.build(task_id, "pending")]}, headers=house.agent.headers
    ) as answer:
        problem = await answer.json()
    assert (answer.status, answer.headers["Retry-After"], problem["key"]) == (429, "1", "too_many_at_once")
    assert await other.send() == []  # another agent's lane is its own
    assert await house.agent.poll(wait=0) == []
    go_on.set()
    assert await first == ["taken"]
    assert await house.agent.report(task_id, "succeeded") == ["taken"]
