"""Clusters without an agent, and agents that come after others."""

import re

import pytest

from gateway.clock import Clock
from gateway.store import agents
from mltm.contract.ids import TaskId
from mltm.contract.names import Spool
from tests.gateway.agent import FakeAgent
from tests.gateway.build import good_parts
from tests.gateway.fixtures import House, eventually

INFRA = {"infra_config": {"instance_type": "cpu", "image_name": "x"}}


async def revoke(house: House, which: FakeAgent | None = None) -> None:
    agent = await house.services.agents.authenticate((which or house.agent).credential)
    await house.in_database(agents.revoke_agent, agent.agent_id, Clock().now())


@pytest.mark.parametrize(
    ("cluster", "key", "words"),
    [
        ("elsewhere", "no_agent", "cluster 'elsewhere' never had an agent"),
        ("atena02", "no_agent", r"cluster 'atena02' has no agent now; its last one was revoked at \d{4}-"),
        ("nowhere", "unknown_cluster", "'nowhere' is not a known cluster; known: atena02, elsewhere"),
    ],
)
async def test_a_cluster_without_an_agent_is_not_an_unknown_one(
    house: House, cluster: str, key: str, words: str
) -> None:
    await revoke(house)
    status, problem = await house.submit(parts=good_parts(runner_location=cluster, clusters={cluster: INFRA}))

    assert (status, problem["key"], problem["fields"][0]["field"]) == (422, key, "runner_location")
    assert re.search(words, problem["detail"]), problem
    assert (f"agent code --cluster {cluster} --owner alice" in problem["next_step"]) == (key == "no_agent")
    assert house.left_behind() == []
    assert (await house.call("GET", "/v1/me"))[1]["clusters"] == []


async def test_somebody_elses_agent_is_none_for_me(house: House) -> None:
    await revoke(house)
    await house.enrol_agent(owner="bob")
    status, problem = await house.submit("alice")

    assert (status, problem["key"]) == (422, "no_agent")
    assert "has agents, but none that runs your tasks" in problem["detail"]
    assert (await house.submit("bob"))[0] == 201


async def test_a_silent_agent_keeps_its_tasks_coming(house: House) -> None:
    task_id = await house.make_task()

    assert (await house.call("GET", f"/v1/tasks/{task_id}"))[1]["agent_silent_s"] >= 0


async def test_the_tasks_of_a_revoked_agent_say_so_and_go_on_with_the_next_one_of_its_spool(house: House) -> None:
    old, task_id = house.agent, await house.make_task()
    await house.call("POST", f"/v1/tasks/{task_id}/cancel")
    await revoke(house)
    note = (await house.call("GET", f"/v1/tasks/{task_id}"))[1]["note"]
    assert note["kind"] == "attention"
    assert "was revoked at" in note["words"]
    assert str(old.spool) in note["words"]

    # The same spool, mounted elsewhere; shared before, of one user now.
    await eventually(Spool(old.spool).bundle(TaskId(task_id)).exists)
    moved = old.spool.rename(old.spool.with_name("moved"))
    new = await house.enrol_agent(owner="alice", spool=moved, spool_id=old.spool_id)
    new.seq = 10

    assert (await house.call("GET", f"/v1/tasks/{task_id}"))[1]["note"]["kind"] == ""
    (command,) = await new.poll(wait=0)
    assert (command["kind"], command["task_id"]) == ("cancel", task_id)
    assert await new.report(task_id, "running", taken=True) == ["taken"]
    await eventually(lambda: not house.left_behind())
    assert not Spool(moved).bundle(TaskId(task_id)).exists()
    assert await new.report(task_id, "succeeded") == ["taken"]


async def test_an_agent_of_another_spool_gets_nothing_of_the_old_ones(house: House) -> None:
    task_id = await house.make_task()
    await house.call("POST", f"/v1/tasks/{task_id}/cancel")
    bundle = Spool(house.agent.spool).bundle(TaskId(task_id))
    await eventually(bundle.exists)
    await revoke(house)
    new = await house.enrol_agent()

    assert await new.poll(wait=0) == []
    assert await new.report(task_id, "running") == ["refused"]
    assert bundle.exists()  # whether the old agent has taken it, only its spool can tell
    listed = await house.in_database(agents.list_agents)
    assert [(row["revoked_at"] is None, row["active_tasks"]) for row in listed] == [(False, 1), (True, 0)]
    assert (
        "with another spool it is not run again"
        in (await house.call("GET", f"/v1/tasks/{task_id}"))[1]["note"]["words"]
    )


@pytest.mark.parametrize(
    ("before", "after", "goes_on"),
    [
        ("alice", "alice", True),
        ("alice", None, True),
        (None, None, True),
        (None, "alice", True),
        ("alice", "bob", False),
    ],
)
async def test_tasks_never_pass_from_one_user_to_another(
    house: House, before: str | None, after: str | None, goes_on: bool
) -> None:
    await revoke(house)
    old = await house.enrol_agent(owner=before)
    task_id = await house.make_task()
    await revoke(house, old)
    new = await house.enrol_agent(owner=after, spool=old.spool, spool_id=old.spool_id)

    assert await new.report(task_id, "running") == ["taken" if goes_on else "refused"]
