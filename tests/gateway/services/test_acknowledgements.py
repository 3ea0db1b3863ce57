"""What an agent answers to a command is data: nothing of it leads to a file, and bytes come only as bytes."""

import asyncio
from pathlib import Path

import pytest

from gateway.http.endpoints import outputs
from tests.gateway.fixtures import House
from tests.gateway.services.test_cluster_files import LOG, answer_commands, read

SECRET = b"-----BEGIN PRIVATE KEY-----"
MESSAGES = [
    "{path} 0 27 1",
    "../tls.key 0 27 1",
    "hello",
    "",
    "a b c d",
    f"{'0' * 32} {'9' * 5000} 1 1",
    f"{'0' * 32} 0 {2**64} 1",
    "0 0 0 0 0",
]


@pytest.fixture
def secret(house: House) -> Path:
    path = house.settings.data_dir / "tls.key"
    path.write_bytes(SECRET)
    return path


@pytest.mark.parametrize("message", MESSAGES)
async def test_a_plain_acknowledgement_brings_no_bytes(house: House, secret: Path, message: str) -> None:
    task_id = await house.make_task()
    reading = asyncio.create_task(read(house, f"/v1/tasks/{task_id}/log"))
    (command,) = await house.agent.poll()

    status, problem = await house.call(
        "POST",
        f"/v1/agent/commands/{command['command_id']}/ack",
        None,
        headers=house.agent.headers,
        json={"outcome": "done", "message": message.format(path=secret)},
    )
    assert (status, problem["key"]) == (422, "bytes_needed")
    assert (command["command_id"] in problem["detail"], "/bytes" in problem["next_step"]) == (True, True)
    # The command is still open: the bytes themselves answer it.
    assert await house.agent.bring(command, LOG) == 200
    assert (await reading)[:2] == (200, LOG)


async def test_the_message_of_a_refusal_is_only_shown(house: House, secret: Path) -> None:
    task_id = await house.make_task()
    reading = asyncio.create_task(house.call("GET", f"/v1/tasks/{task_id}/log"))
    (command,) = await house.agent.poll()
    message = f"{secret} 0 27 1"
    assert await house.agent.acknowledge(command["command_id"], outcome="refused", message=message) == 200

    status, problem = await reading
    assert (status, problem["key"], problem["detail"]) == (404, "log_not_found", message)


@pytest.mark.parametrize("kind", ["cancel", "list_outputs"])
async def test_bytes_answer_nothing_but_a_question_for_bytes(
    house: House, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(outputs, "AGENT_WAIT_S", 0.02)
    task_id = await house.make_task()
    method, path = ("POST", "cancel") if kind == "cancel" else ("GET", "outputs")
    await house.call(method, f"/v1/tasks/{task_id}/{path}")
    (command,) = await house.agent.poll()
    assert command["kind"] == kind

    assert await house.agent.bring({**command, "length": 10}, LOG) == 422
    assert [open_one["kind"] for open_one in await house.agent.poll()] == [kind]
    assert list(house.settings.cache.iterdir()) == []


@pytest.mark.parametrize(
    ("offset", "size", "length"), [(0, 3, 4), (2**63 - 1, 2**63 - 1, 1), (2**63, 2**63, 1), (0, 100, 65)]
)
async def test_bytes_that_do_not_fit_their_own_numbers_are_refused(
    house: House, offset: int, size: int, length: int
) -> None:
    task_id = await house.make_task()
    reading = asyncio.create_task(read(house, f"/v1/tasks/{task_id}/log", params={"length": "64"}))
    (command,) = await house.agent.poll()
    answer = await house.client.put(
        f"/v1/agent/commands/{command['command_id']}/bytes",
        data=b"x" * length,
        headers={
            **house.agent.headers, "X-Mltm-Offset": str(offset), "X-Mltm-Size": str(size), "X-Mltm-Final": "true",
        },
    )  # fmt: skip
    assert answer.status == 422, await answer.text()
    assert await house.agent.bring(command, LOG) == 200
    assert (await reading)[1] == LOG[:64]


async def test_the_end_of_a_log_in_the_cache_does_not_hide_its_beginning(house: House) -> None:
    path = f"/v1/tasks/{await house.make_task()}/log"
    await asyncio.gather(read(house, path, params={"offset": "-100"}), answer_commands(house, LOG))

    (_, body, headers), _ = await asyncio.gather(read(house, path), answer_commands(house, LOG))

    assert (body, headers["X-Mltm-Offset"]) == (LOG, "0")
