"""A damaged row is its own trouble: the publisher, the poll, the lists and the merge go on with the others."""

import asyncio
import shutil
from typing import Any

import pytest

from gateway.services.publisher import Publisher
from gateway.services.wake import Wake
from gateway.store.database import Database
from gateway.store.models import Agent, Command, Event, Outbox, Task
from mltm.contract import routes
from mltm.runtime.clock import Clock
from tests.gateway.fixtures import House, eventually

DAMAGES: list[dict[str, str]] = [
    {"config": "{"},
    {"config": ""},
    {"config": "[]"},
    {"config": "7"},
    {"config": '{"x": NaN}'},
    {"config": '{"x": "\\ud800"}'},
    {"config": '{"x": ' + "[" * 100_000 + "]" * 100_000 + "}"},
    {"config": '{"x": ' + "9" * 5000 + "}"},
    {"submitted_at": "yesterday"},
    {"agent_id": "gone"},
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: next(iter(damage.items()))[1][:20])
async def test_a_damaged_task_is_set_aside_and_shown_and_the_others_are_published(
    house: House, damage: dict[str, str]
) -> None:
    spool = house.agent.spool
    bad = await house.make_task()
    await wait_until_published(house, bad)
    shutil.rmtree(spool / "in" / "new" / bad)

    def spoil() -> dict[str, Any]:
        row = Task.get_by_id(bad)
        kept = {name: getattr(row, name) for name in damage}
        Task.update(**damage).where(Task.task_id == bad).execute()
        Outbox.update(step="waiting", **{"agent_id": "gone"} if "agent_id" in damage else {}).execute()
        return kept

    kept = await house.in_database(spoil)
    for _ in range(2):
        good = await house.make_task("bob")
        await eventually((spool / "in" / "new" / good).is_dir)

    status, health = await house.call("GET", routes.HEALTH, "root")
    assert (status, health["status"], health["checks"]["publisher"]) == (200, "degraded", "ok")
    assert bad in health["checks"]["spools"]
    status, task = await house.call("GET", f"/v1/tasks/{bad}")
    assert status == 200
    assert [event["message"] for event in task["history"] if "damaged" in event["message"]] != []
    assert (await house.call("GET", routes.TASKS, "root"))[0] == 200

    # Its row is repaired: the next look publishes it.
    def repair() -> None:
        Task.update(**kept).where(Task.task_id == bad).execute()
        Outbox.update(agent_id=Agent.get().agent_id).execute()

    await house.in_database(repair)
    await publish_again(house)
    await wait_until_published(house, bad)


async def wait_until_published(house: House, task_id: str) -> None:
    async with asyncio.timeout(10):
        while await house.in_database(lambda: Outbox.get_by_id(task_id).step) != "published":  # noqa: ASYNC110 - a row
            await asyncio.sleep(0.005)


async def publish_again(house: House) -> None:
    """What the publisher does at its start and every ten minutes."""
    database = Database(house.settings.database_path)
    try:
        publisher = Publisher(database, house.settings, Clock(), Wake())
        await publisher.republish()
        await publisher.run_once()
    finally:
        await asyncio.to_thread(database.close)


async def test_a_taken_bundle_is_removed_although_its_config_is_damaged(house: House) -> None:
    task_id = await house.make_task()
    place = house.agent.spool / "in" / "new" / task_id
    await eventually(place.is_dir)
    await house.in_database(lambda: Task.update(config="{").where(Task.task_id == task_id).execute())

    await house.agent.report(task_id, "running", taken=True)

    await eventually(lambda: not place.exists())


async def test_a_damaged_command_stops_no_other(house: House) -> None:
    first, second = await house.make_task(), await house.make_task()
    for task_id in (first, second):
        await house.call("POST", f"/v1/tasks/{task_id}/cancel")
    await house.in_database(lambda: Command.update(body="{").where(Command.task_id == first).execute())

    (command,) = await house.agent.poll(wait=0)

    assert command["task_id"] == second


@pytest.mark.parametrize("answer", ["", "{", "[]", '{"outcome": "unheard of"}'])
async def test_a_damaged_answer_is_a_refusal_in_words(
    house: House, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr("gateway.store.commands.Ack.model_dump_json", lambda *_args, **_more: answer)
    task_id = await house.make_task()
    reading = asyncio.create_task(house.call("GET", f"/v1/tasks/{task_id}/outputs"))
    (command,) = await house.agent.poll()
    assert await house.agent.acknowledge(command["command_id"], outputs=[]) == 200

    status, problem = await reading
    assert (status, "damaged" in problem["detail"]) == (404, True)


@pytest.mark.parametrize("damage", [{"at": "yesterday"}, {"state": "unheard of"}])
async def test_a_damaged_line_of_the_history_is_left_out(house: House, damage: dict[str, str]) -> None:
    task_id = await house.make_task()
    await house.agent.report(task_id, "running")
    await house.in_database(lambda: Event.update(**damage).execute())

    status, task = await house.call("GET", f"/v1/tasks/{task_id}")
    assert (status, [event["state"] for event in task["history"]]) == (200, ["running"])


async def test_a_task_of_an_unknown_state_is_reported_cancelled_and_merged(house: House) -> None:
    task_id, other = await house.make_task(), await house.make_task()
    await house.in_database(lambda: Task.update(state="unheard of").where(Task.task_id == task_id).execute())

    assert (await house.call("POST", f"/v1/tasks/{task_id}/cancel"))[0] == 200
    reports = [house.agent.build(each, "running") for each in (task_id, other)]
    assert [outcome["outcome"] for outcome in await house.agent.send(*reports)] == ["taken", "taken"]
    states = [(await house.call("GET", f"/v1/tasks/{each}"))[1]["state"] for each in (task_id, other)]
    assert states == ["running", "running"]
