"""Cancel, hold and release: recorded once, told to the agent until it answers, and asked for again where it refused."""

from pathlib import Path
from typing import Any

import pytest

from agent.spool.commands import record_command
from agent.spool.records import read_journal
from mltm.contract.agent_api import CommandMessage
from mltm.contract.ids import TaskId
from mltm.contract.spool_layout import Spool
from mltm.runtime.clock import Clock
from tests.gateway.fixtures import House

KINDS = pytest.mark.parametrize("kind", ["cancel", "hold", "release"])


async def ask(house: House, task_id: str, kind: str, who: str = "alice") -> tuple[int, Any]:
    return await house.call("POST", f"/v1/tasks/{task_id}/{kind}", who)


@KINDS
async def test_a_request_that_was_refused_can_be_asked_for_again(house: House, kind: str) -> None:
    task_id = await house.make_task()
    await ask(house, task_id, kind)
    (first,) = await house.agent.poll(wait=0)
    await house.agent.acknowledge(first["command_id"], outcome="refused", message="The disk is full.")
    _, task = await house.call("GET", f"/v1/tasks/{task_id}")
    assert task["cancel_requested"] is False
    assert task["history"][-1]["message"] == f"the agent did not {kind} it: The disk is full."

    assert (await ask(house, task_id, kind))[0] == 200
    (again,) = await house.agent.poll(wait=0)
    assert (again["kind"], again["task_id"], again["command_id"] != first["command_id"]) == (kind, task_id, True)


@KINDS
async def test_a_request_for_an_ended_task_is_a_conflict(house: House, kind: str) -> None:
    task_id = await house.make_task()
    await house.agent.report(task_id, "succeeded", exit_code=0)
    status, problem = await ask(house, task_id, kind)

    assert (status, problem["key"], problem["fields"][0]["field"]) == (409, "already_final", "state")
    assert await house.agent.poll(wait=0) == []


async def test_hold_and_release_are_told_in_turn_and_once_each(house: House) -> None:
    task_id = await house.make_task()
    told = []
    for kind in ("hold", "hold", "release", "release", "hold"):
        status, answer = await ask(house, task_id, kind)
        assert (status, answer["hold_requested"]) == (200, kind == "hold")
        for command in await house.agent.poll(wait=0):
            told.append((command["kind"], command["by"]))
            assert await house.agent.acknowledge(command["command_id"]) == 200

    assert told == [("hold", "alice"), ("release", "alice"), ("hold", "alice")]
    _, task = await house.call("GET", f"/v1/tasks/{task_id}")
    assert [event["message"] for event in task["history"][1:]] == [
        "alice asked to hold it", "alice asked to release it", "alice asked to hold it",
    ]  # fmt: skip


async def test_the_agent_obeys_the_last_request_though_the_clock_goes_back(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    task_id, spool = await house.make_task(), Spool(tmp_path / "agents")
    ids = iter([f"{number:032x}" for number in (30, 20, 10, 5)])
    monkeypatch.setattr(Clock, "new_id", lambda _: next(ids))
    for kind in ("hold", "release", "hold"):
        await ask(house, task_id, kind)
    commands = [CommandMessage.model_validate(command) for command in await house.agent.poll(wait=0)]
    assert [command.kind for command in commands] == ["hold", "release", "hold"]

    for command in reversed(commands):  # however they arrive
        assert record_command(spool, command, Clock()).outcome == "done"
    assert read_journal(spool, TaskId(task_id)).held
    await ask(house, task_id, "release")
    *_, last = await house.agent.poll(wait=0)
    record_command(spool, CommandMessage.model_validate(last), Clock())
    assert not read_journal(spool, TaskId(task_id)).held
