"""Handing in, reading, listing and cancelling, over the real routes and a real database."""

import asyncio
import hashlib
import json
from typing import Any

import pytest

from mltm.contract import routes
from mltm.contract.ids import TaskId
from mltm.contract.manifest import Manifest
from mltm.contract.spool_layout import CONFIG_FILE, MANIFEST, Spool
from tests.gateway.build import SCRIPT, build_form, config, good_parts, part
from tests.gateway.fixtures import House, eventually

SUBMISSIONS = pytest.mark.parametrize("path", [routes.TASKS, routes.PREDECESSOR_NEW_TASK])


async def test_a_task_is_accepted_and_its_bundle_reaches_the_spool(house: House) -> None:
    status, task = await house.submit(parts=[*good_parts(), part("data.csv", "1,2\n")])
    assert (status, task["state"], task["owner"], task["cluster"]) == (201, "accepted", "alice", "atena02")
    bundle = Spool(house.agent.spool).inbox.bundle(TaskId(task["task_id"]))
    await eventually(bundle.exists)

    manifest = Manifest.model_validate_json((bundle / MANIFEST).read_bytes())
    assert (manifest.task_id, manifest.owner, manifest.script_name) == (task["task_id"], "alice", "script.py")
    assert manifest.config == json.loads((bundle / CONFIG_FILE).read_bytes()) == config()
    assert {file.name for file in manifest.files} == {"entrypoint.py", "data.csv"}
    for file in manifest.files:
        content = (bundle / "files" / file.name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size, file.sha256)
    assert (bundle / "files" / "entrypoint.py").read_bytes() == SCRIPT


async def test_the_answer_says_where_the_task_is(house: House) -> None:
    answer = await house.client.post(routes.TASKS, data=build_form(good_parts()), headers=house.headers("alice"))
    task = await answer.json()

    assert answer.headers["Location"] == f"/v1/tasks/{task['task_id']}"
    assert (await house.call("GET", answer.headers["Location"]))[0] == 200


async def test_a_taken_bundle_leaves_the_spool_and_the_store(house: House) -> None:
    task_id = await house.make_task()
    bundle = Spool(house.agent.spool).inbox.bundle(TaskId(task_id))
    await eventually(bundle.exists)

    await house.agent.report(task_id, "submitting", taken=True)

    await eventually(lambda: not bundle.exists() and not house.left_behind())
    assert not [path for path in bundle.parent.parent.rglob("*") if task_id in path.name]


@SUBMISSIONS
async def test_the_same_body_under_one_key_is_one_task(house: House, path: str) -> None:
    first, task = await house.submit(path=path, Idempotency_Key="k 1")
    again, same = await house.submit(path=path, Idempotency_Key="k 1")
    # Another order of parts and of the config's names, other white space: the same config and files.
    parts = [good_parts()[1], part("other.json", json.dumps(dict(reversed(config().items())), indent=3), "config")]
    shuffled, third = await house.submit(parts=parts, path=path, Idempotency_Key="k 1")

    assert same["task_id"] == task["task_id"] == third["task_id"]
    assert (first, again, shuffled) == ((201, 200, 200) if path == routes.TASKS else (200, 200, 200))
    assert len((await house.call("GET", routes.TASKS))[1]["tasks"]) == 1


@SUBMISSIONS
@pytest.mark.parametrize(
    "parts",
    [
        good_parts(dataset_name="iris"),
        [good_parts()[0], part("script.py", "print(2)")],
        [*good_parts(), part("data.csv", "1")],
    ],
    ids=["config", "script", "more files"],
)
async def test_another_body_under_one_key_is_409(house: House, path: str, parts: list[Any]) -> None:
    _, task = await house.submit(path=path, Idempotency_Key="k")
    status, problem = await house.submit(parts=parts, path=path, Idempotency_Key="k")

    assert (status, problem["key"]) == (409, "idempotency_conflict")
    assert task["task_id"] in problem["detail"]
    assert problem["next_step"]
    assert len((await house.call("GET", routes.TASKS))[1]["tasks"]) == 1


async def test_a_key_belongs_to_its_user(house: House) -> None:
    (_, mine), (status, theirs) = [await house.submit(who, Idempotency_Key="k") for who in ("alice", "bob")]

    assert status == 201
    assert mine["task_id"] != theirs["task_id"]


async def test_one_key_sent_many_times_at_once_is_one_task(house: House) -> None:
    answers = await asyncio.gather(*(house.submit(Idempotency_Key="k") for _ in range(8)))

    assert len({task["task_id"] for _, task in answers}) == 1
    assert sorted(status for status, _ in answers) == [200] * 7 + [201]
    assert len([path for path in house.left_behind() if "files" in path]) == 1


@pytest.mark.parametrize("key", ["", "a" * 256, "ü", "a\tb"])
async def test_a_bad_key_is_refused(house: House, key: str) -> None:
    status, problem = await house.submit(Idempotency_Key=key)

    assert (status, problem["key"]) == (422, "bad_idempotency_key")
    assert problem["fields"][0]["field"] == "Idempotency-Key"


async def test_pages_hold_every_task_once_newest_first(house: House) -> None:
    made = [await house.make_task() for _ in range(5)]
    await house.make_task("bob")
    seen: list[str] = []
    before: dict[str, str] = {}
    for _ in range(3):
        _, page = await house.call("GET", routes.TASKS, params={"limit": "2", **before})
        seen += [task["task_id"] for task in page["tasks"]]
        before = {"before": page["next"]} if page["next"] else {}

    assert seen == sorted(made, reverse=True)
    assert not before
    assert len((await house.call("GET", routes.TASKS, "root"))[1]["tasks"]) == 6


async def test_a_list_can_be_of_one_state(house: House) -> None:
    done, _ = await house.make_task(), await house.make_task()
    await house.agent.report(done, "failed", exit_code=3)
    _, page = await house.call("GET", routes.TASKS, params={"state": "failed"})

    assert [task["task_id"] for task in page["tasks"]] == [done]


@pytest.mark.parametrize("query", [{"state": "done"}, {"limit": "0"}, {"limit": "201"}, {"offset": "3"}])
async def test_a_wrong_query_is_named(house: House, query: dict[str, str]) -> None:
    status, problem = await house.call("GET", routes.TASKS, params=query)

    assert (status, [named["field"] for named in problem["fields"]]) == (422, list(query))


async def test_a_task_is_read_with_its_history_and_config(house: House) -> None:
    task_id = await house.make_task()
    await house.agent.report(task_id, "submitting", "pending", "running", job_id="77", node="n1")
    await house.agent.report(task_id, "succeeded", job_id="77", exit_code=0, message="exit code 0")
    for spelling in (task_id, f"{task_id[:8]}-{task_id[8:]}".upper()):
        status, task = await house.call("GET", f"/v1/tasks/{spelling}/")

        assert (status, task["state"], task["final"], task["job_id"]) == (200, "succeeded", True, 77)
        states = ["accepted", "submitting", "pending", "running", "succeeded"]
        assert [event["state"] for event in task["history"] if event["source"] == "agent"] == states[1:]
        assert [event["state"] for event in task["history"] if event["source"] == "gateway"] == states[:1]
        assert task["config"] == config()
        assert [attempt["job_id"] for attempt in task["attempts"]] == ["77"]
        assert task["reason"] == "exit code 0"


async def test_cancel_is_recorded_once_and_told_until_acknowledged(house: House) -> None:
    task_id = await house.make_task()
    for _ in range(2):
        status, answer = await house.call("POST", f"/v1/tasks/{task_id}/cancel")
        assert (status, answer) == (200, {"task_id": task_id, "state": "accepted", "cancel_requested": True})

    (command,) = await house.agent.poll(wait=0)
    assert (command["kind"], command["task_id"], command["by"]) == ("cancel", task_id, "alice")
    assert await house.agent.poll(wait=0) == [command]
    assert [await house.agent.acknowledge(command["command_id"]) for _ in range(2)] == [200, 200]
    assert await house.agent.poll(wait=0) == []
    _, task = await house.call("GET", f"/v1/tasks/{task_id}")
    assert task["cancel_requested"]
    assert sum("cancel" in event["message"] for event in task["history"]) == 1


async def test_a_cancel_wakes_a_waiting_agent(house: House) -> None:
    task_id = await house.make_task()
    poll = asyncio.create_task(house.agent.poll(wait=30))
    await house.call("POST", f"/v1/tasks/{task_id}/cancel")

    async with asyncio.timeout(5):
        (command,) = await poll
    assert command["kind"] == "cancel"


async def test_a_task_ends_as_the_agent_says(house: House) -> None:
    task_id = await house.make_task()
    await house.call("POST", f"/v1/tasks/{task_id}/cancel")
    await house.agent.report(task_id, "running", "cancelled", job_id="5")
    _, task = await house.call("GET", f"/v1/tasks/{task_id}")

    assert (task["state"], task["final"]) == ("cancelled", True)
