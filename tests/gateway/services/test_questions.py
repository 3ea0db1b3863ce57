"""Questions to an agent (bytes of a file, a list of outputs) expire; requests of users do not."""

from datetime import timedelta

import pytest

from gateway.http.endpoints import outputs
from gateway.store.models import Command
from tests.gateway.fixtures import House

LIFE = timedelta(minutes=10)


async def ask_in_vain(house: House, task_id: str) -> None:
    for path in ("log", "outputs", "outputs/model.bin"):
        assert (await house.call("GET", f"/v1/tasks/{task_id}/{path}"))[0] == 504


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "AGENT_WAIT_S", 0.02)


async def test_an_agent_that_was_away_is_not_asked_what_nobody_waits_for(house: House) -> None:
    task_id = await house.make_task()
    await ask_in_vain(house, task_id)
    await house.call("POST", f"/v1/tasks/{task_id}/cancel")
    kinds = [command["kind"] for command in await house.agent.poll(wait=0)]
    assert kinds == ["cancel", "send_bytes", "list_outputs", "send_bytes"]  # a request never waits behind them

    house.time.ahead = LIFE + timedelta(seconds=1)
    assert [command["kind"] for command in await house.agent.poll(wait=0)] == ["cancel"]


async def test_expired_questions_leave_the_database_and_late_answers_are_not_wanted(house: House) -> None:
    task_id = await house.make_task()
    await ask_in_vain(house, task_id)
    await house.call("POST", f"/v1/tasks/{task_id}/cancel")
    old = [command for command in await house.agent.poll(wait=0) if command["kind"] == "send_bytes"]
    assert await house.agent.bring(old[0], b"line\n", final=False) == 200

    house.time.ahead = LIFE + timedelta(seconds=1)
    await ask_in_vain(house, task_id)

    kept = await house.in_database(lambda: [row.kind for row in Command.select().order_by(Command.kind)])
    assert kept == ["cancel", "list_outputs", "send_bytes", "send_bytes"]
    assert await house.agent.bring(old[1], b"line\n") == 404
