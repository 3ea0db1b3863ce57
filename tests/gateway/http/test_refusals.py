"""Refusals about who asks, when, and how much of a body came: named, with a way out, and nothing is left."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from gateway.private_files import create_private_file
from mltm.contract import routes
from tests.gateway.fixtures import House, eventually


async def begin_upload(house: House) -> asyncio.StreamWriter:
    """Send the first part of a submission, and no more."""
    _, writer = await asyncio.open_connection("127.0.0.1", house.client.port)
    writer.write(
        f"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {house.tokens['alice']}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 50000\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="files"; filename="config.json"\r\n\r\n{"runner'.encode()
    )
    await writer.drain()
    return writer


async def test_a_client_that_goes_away_leaves_nothing(house: House) -> None:
    writer = await begin_upload(house)
    await eventually(lambda: len(house.left_behind()) == 1)

    writer.transport.abort()

    await eventually(lambda: not house.left_behind())
    assert (await house.call("GET", routes.TASKS, "root"))[1]["tasks"] == []


@pytest.mark.parametrize("step", ["mkdir", "open"])
async def test_a_client_that_goes_away_during_a_step_of_the_disk_leaves_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    is_reached, may_go_on = threading.Event(), threading.Event()
    made, call = [], Path.mkdir if step == "mkdir" else create_private_file
    place = "pathlib.Path.mkdir" if step == "mkdir" else "gateway.http.multipart.create_private_file"

    def wait_there(path: Path, *args: Any, **kwargs: Any) -> object:
        if path.is_relative_to(house.settings.staging):
            is_reached.set()
            assert may_go_on.wait(10)
            made.append(call(path, *args, **kwargs))
            return made[0]
        return call(path, *args, **kwargs)

    monkeypatch.setattr(place, wait_there)
    writer = await begin_upload(house)
    await eventually(is_reached.is_set)

    writer.transport.abort()
    await eventually(lambda: any(task.cancelling() for task in asyncio.all_tasks()))
    may_go_on.set()

    await eventually(lambda: bool(made) and not any(task.cancelling() for task in asyncio.all_tasks()))
    assert house.left_behind() == []
    assert all(file.closed for file in made if file is not None)


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({}, "no_token"),
        ({"Authorization": "Bearer mltm_wrong"}, "bad_token"),
        ({"Authorization": "Basic YTpi"}, "bad_authorization"),
        ({"Authorization": "Bearer "}, "bad_authorization"),
    ],
)
async def test_a_missing_or_wrong_token_is_401(house: House, headers: dict[str, str], key: str) -> None:
    for method, path in (("GET", routes.TASKS), ("POST", routes.TASKS), ("POST", routes.PREDECESSOR_NEW_TASK)):
        status, problem = await house.call(method, path, None, headers=headers)

        assert (status, problem["key"]) == (401, key)
        assert problem["fields"][0]["field"] == "Authorization"
        assert "/auth/login" in problem["next_step"]


async def test_somebody_elses_task_is_as_one_that_does_not_exist(house: House) -> None:
    theirs = await house.make_task("bob")
    answers = [await house.call("GET", f"/v1/tasks/{task_id}") for task_id in (theirs, "0" * 32, "nonsense")]

    assert [(status, problem["key"]) for status, problem in answers] == [(404, "task_not_found")] * 3
    assert all(problem["fields"][0]["field"] == "task_id" and problem["next_step"] for _, problem in answers)
    assert answers[0][1]["detail"].replace(theirs, "") == answers[1][1]["detail"].replace("0" * 32, "")


async def test_cancel_of_a_finished_task_is_409(house: House) -> None:
    task_id = await house.make_task()
    await house.agent.report(task_id, "succeeded", exit_code=0)

    status, problem = await house.call("POST", f"/v1/tasks/{task_id}/cancel")

    assert (status, problem["key"]) == (409, "already_final")
    assert (problem["fields"][0]["field"], problem["fields"][0]["given"]) == ("state", "succeeded")
    assert problem["next_step"]
    assert await house.agent.poll(wait=0) == []
