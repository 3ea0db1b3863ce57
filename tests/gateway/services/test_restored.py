"""A database that was put back from a backup: what it forgot is made again from the agent's reports."""

import asyncio
import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gateway.services.passwords import hash_password, hash_secret
from gateway.store import agents, users
from gateway.store.migrate import read_gateway_id
from gateway.store.users import NewToken
from mltm.contract.spool_layout import Spool
from mltm.runtime.clock import Clock
from tests.gateway.fixtures import USER_IDS, House, ask_to_enrol, eventually


def forget(house: House, task_id: str) -> None:
    """What a backup from before the task does to it."""
    with contextlib.closing(sqlite3.connect(house.settings.database_path, timeout=10)) as database, database:
        for table in ("task", "task_file", "attempt", "report", "event", "outbox"):
            database.execute(f"DELETE FROM {table} WHERE task_id = ?", (task_id,))  # noqa: S608 - names from above


async def make_and_forget(house: House) -> tuple[str, dict[str, Any]]:
    """A task that the agent has and the gateway has not; its id and its manifest."""
    task_id = await house.make_task()
    bundle = Spool(Path(house.agent.spool)).inbox.new / task_id
    await eventually(bundle.is_dir)
    manifest: dict[str, Any] = json.loads((bundle / "manifest.json").read_bytes())
    await asyncio.to_thread(forget, house, task_id)
    return task_id, manifest


async def test_a_report_of_a_task_that_was_forgotten_waits_and_is_taken_after_one_with_the_manifest(
    house: House,
) -> None:
    task_id, manifest = await make_and_forget(house)
    late = house.agent.build(task_id, "running")
    again = house.agent.build(task_id, "pending", manifest=manifest)

    (first,) = await house.agent.send(late)
    assert first["outcome"] == "unknown_task"
    assert "not known here" in first["message"]
    assert (await house.call("GET", f"/v1/tasks/{task_id}"))[0] == 404

    outcomes = await house.agent.send(again, late)
    assert [outcome["outcome"] for outcome in outcomes] == ["taken", "taken"]
    status, task = await house.call("GET", f"/v1/tasks/{task_id}")
    assert (status, task["state"], task["owner"]) == (200, "running", "alice")


async def test_it_can_wait_in_the_same_batch(house: House) -> None:
    task_id, manifest = await make_and_forget(house)
    late, again = house.agent.build(task_id, "running"), house.agent.build(task_id, "running", manifest=manifest)
    outcomes = await house.agent.send(late, again, late)
    assert [outcome["outcome"] for outcome in outcomes] == ["unknown_task", "taken", "taken"]


async def test_a_report_of_another_spool_is_refused_and_not_called_unknown(house: House) -> None:
    (outcome,) = await house.agent.send({**house.agent.build("1" * 32, "running"), "spool_id": "b" * 32})
    assert outcome["outcome"] == "refused"


async def test_an_enrolment_tells_which_gateway_it_is(house: House) -> None:
    code = await house.make_code(None, house.agent.spool, cluster="elsewhere")
    known = await house.in_database(read_gateway_id)
    _, enrolled = await ask_to_enrol(house.client, code, "c" * 32)
    assert enrolled["gateway_id"] == known


FORGERIES: dict[str, dict[str, Any]] = {
    "another owner": {"owner": "bob"},
    "another owner's id": {"owner_id": USER_IDS["bob"]},
    "another config": {"config": {"script_path": "other.py"}},
    "another name": {"script_name": "other.py"},
    "another time": {"submitted_at": "2020-01-01T00:00:00Z"},
    "without a seal": {"seal": ""},
    "a seal of its own": {"owner": "bob", "seal": "0" * 64},
}


@pytest.mark.parametrize("case", FORGERIES)
async def test_an_agent_of_all_users_cannot_say_whose_a_forgotten_task_is(house: House, case: str) -> None:
    task_id, manifest = await make_and_forget(house)
    forged = {**manifest, **FORGERIES[case]}
    (outcome,) = await house.agent.send(house.agent.build(task_id, "running", manifest=forged))

    assert outcome["outcome"] == "refused"
    assert "no valid seal of this gateway" in outcome["message"]
    for who in ("alice", "bob", "root"):
        assert (await house.call("GET", f"/v1/tasks/{task_id}", who))[0] == 404
    assert await house.agent.report(task_id, "running", manifest=manifest) == ["taken"]


async def test_a_seal_for_one_spool_is_none_for_another(house: House) -> None:
    task_id, manifest = await make_and_forget(house)
    await revoke_all(house)
    other = await house.enrol_agent()
    (outcome,) = await other.send(other.build(task_id, "running", manifest=manifest))

    assert outcome["outcome"] == "refused"


async def revoke_all(house: House) -> None:
    for row in await house.in_database(agents.list_agents):
        await house.in_database(agents.revoke_agent, str(row["agent_id"]), Clock().now())


async def test_a_private_agent_speaks_for_its_owner_whatever_its_manifests_say(house: House) -> None:
    task_id, manifest = await make_and_forget(house)
    own = await house.enrol_agent(owner="bob")
    assert await own.report(task_id, "running", manifest={**manifest, "owner": "alice", "seal": ""}) == ["taken"]

    assert (await house.call("GET", f"/v1/tasks/{task_id}", "alice"))[0] == 404
    assert (await house.call("GET", f"/v1/tasks/{task_id}", "bob"))[1]["owner"] == "bob"


async def test_a_task_of_a_user_who_was_removed_is_not_his_successors(house: House) -> None:
    task_id, manifest = await make_and_forget(house)
    await house.in_database(users.remove_user, "alice", Clock().now())
    new = await house.in_database(users.add_user, "alice", "user", hash_password("a new password"), Clock().now())
    token = NewToken("t" * 32, new, "api", hash_secret("mltm_new"), Clock().now(), None)
    await house.in_database(users.add_token, token)
    house.tokens["alice"] = "mltm_new"

    assert await house.agent.report(task_id, "running", manifest=manifest) == ["taken"]
    assert (await house.call("GET", f"/v1/tasks/{task_id}", "alice"))[0] == 404
    assert (await house.call("GET", f"/v1/tasks/{task_id}", "root"))[1]["owner"] == "alice"
