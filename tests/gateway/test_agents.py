"""Clusters without an agent, and agents that come after others."""

import re

import pytest

from gateway.clock import Clock
from gateway.store import agents
from tests.gateway.build import good_parts
from tests.gateway.fixtures import House

INFRA = {"infra_config": {"instance_type": "cpu", "image_name": "x"}}


async def revoke(house: House) -> None:
    agent = await house.services.agents.authenticate(house.agent.credential)
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
