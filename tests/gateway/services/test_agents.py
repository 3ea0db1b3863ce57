"""Clusters without an agent, and agents that come after others."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import ConflictError, NotFoundError, UnauthorizedError
from gateway.services.passwords import hash_secret
from gateway.store import agents
from gateway.store.models import Agent, Outbox, render_timestamp
from gateway.store.outbox import mark
from mltm.contract import routes
from mltm.contract.ids import TaskId
from mltm.contract.proofs import parse_key, prove_bundle, prove_enrolment
from mltm.contract.spool_layout import MANIFEST, PROOF, Inbox, Spool
from mltm.runtime.clock import Clock
from tests.gateway.agent import FakeAgent
from tests.gateway.build import CLUSTER, good_parts
from tests.gateway.fixtures import USER_IDS, House, ask_to_enrol, enrol, eventually

INFRA = {"infra_config": {"instance_type": "cpu", "image_name": "x"}}


async def revoke(house: House, which: FakeAgent | None = None) -> None:
    agent = await house.services.agents.authenticate((which or house.agent).credential)
    await house.in_database(agents.revoke_agent, agent.agent_id, Clock().now())


@pytest.mark.parametrize(
    ("cluster", "key", "message"),
    [
        ("elsewhere", "no_agent", "cluster 'elsewhere' never had an agent"),
        ("atena02", "no_agent", r"cluster 'atena02' has no agent now; its last agent was revoked at \d{4}-"),
        ("nowhere", "unknown_cluster", "'nowhere' is not a known cluster. Known clusters: atena02, elsewhere"),
    ],
)
async def test_a_cluster_without_an_agent_is_not_an_unknown_one(
    house: House, cluster: str, key: str, message: str
) -> None:
    await revoke(house)
    status, problem = await house.submit(parts=good_parts(runner_location=cluster, clusters={cluster: INFRA}))

    assert (status, problem["key"], problem["fields"][0]["field"]) == (422, key, "runner_location")
    assert re.search(message, problem["detail"]), problem
    assert (f"agent code --cluster {cluster} --owner alice" in problem["next_step"]) == (key == "no_agent")
    assert house.left_behind() == []
    assert (await house.call("GET", "/v1/me"))[1]["clusters"] == []


async def test_somebody_elses_agent_is_none_for_me(house: House) -> None:
    await revoke(house)
    await house.enrol_agent(owner="bob")
    status, problem = await house.submit("alice")

    assert (status, problem["key"]) == (422, "no_agent")
    assert "has agents, but none of them runs your tasks" in problem["detail"]
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
    assert "was revoked at" in note["message"]
    assert str(old.spool) in note["message"]

    await eventually(Spool(old.spool).inbox.bundle(TaskId(task_id)).exists)
    new = await house.enrol_agent(again=old)
    new.seq = 10

    assert (await house.call("GET", f"/v1/tasks/{task_id}"))[1]["note"]["kind"] == ""
    (command,) = await new.poll(wait=0)
    assert (command["kind"], command["task_id"]) == ("cancel", task_id)
    assert await new.report(task_id, "running", taken=True) == ["taken"]
    await eventually(lambda: not house.left_behind())
    assert not Spool(old.spool).inbox.bundle(TaskId(task_id)).exists()
    assert await new.report(task_id, "succeeded") == ["taken"]


async def test_an_agent_of_another_spool_gets_nothing_of_the_old_ones(house: House) -> None:
    task_id = await house.make_task()
    await house.call("POST", f"/v1/tasks/{task_id}/cancel")
    bundle = Spool(house.agent.spool).inbox.bundle(TaskId(task_id))
    await eventually(bundle.exists)
    await revoke(house)
    new = await house.enrol_agent()

    assert await new.poll(wait=0) == []
    assert await new.report(task_id, "running") == ["refused"]
    assert bundle.exists()  # whether the old agent has taken it, only its spool can tell
    listed = await house.in_database(agents.list_agents)
    assert [(row["revoked_at"] is None, row["active_tasks"]) for row in listed] == [(False, 1), (True, 0)]
    assert (
        "An agent with another spool does not run it"
        in (await house.call("GET", f"/v1/tasks/{task_id}"))[1]["note"]["message"]
    )


@pytest.mark.parametrize("owner", ["alice", None])
@pytest.mark.parametrize("is_revoked", [True, False])
async def test_the_same_agent_that_is_enrolled_again_goes_on_with_its_tasks(
    house: House, owner: str | None, is_revoked: bool
) -> None:
    await revoke(house)
    old = await house.enrol_agent(owner=owner)
    task_id = await house.make_task()
    if is_revoked:
        await revoke(house, old)
    new = await house.enrol_agent(owner=owner, again=old)

    assert await new.report(task_id, "running") == ["taken"]
    assert (await house.in_database(agents.find_agent, hash_secret(new.credential))).owner == owner
    with pytest.raises(UnauthorizedError):
        await house.in_database(agents.find_agent, hash_secret(old.credential))


OTHER_OWNERS = [(None, "alice"), ("alice", None), ("alice", "bob"), ("bob", "alice")]


@pytest.mark.parametrize("cluster", [CLUSTER, "elsewhere"])
@pytest.mark.parametrize("repeated", ["both", "spool_id", "spool"])
@pytest.mark.parametrize(("before", "after"), OTHER_OWNERS)
async def test_a_spool_never_passes_from_one_owner_to_another(
    house: House, before: str | None, after: str | None, repeated: str, cluster: str
) -> None:
    await revoke(house)
    old = await house.enrol_agent(owner=before)
    task_id = await house.make_task(before or "alice")
    await revoke(house, old)
    spool = old.spool.with_name("another") if repeated == "spool_id" else old.spool
    code = await house.make_code(after, spool, cluster)
    status, problem = await ask_to_enrol(house.client, code, "e" * 32 if repeated == "spool" else old.spool_id)

    assert (status, problem.get("key")) == (409, "spool_taken")
    assert "belongs to an agent with another owner" in problem["detail"]
    assert "give it a new, empty folder" in problem["next_step"]
    assert str(old.spool) not in problem["detail"] + problem["next_step"]  # whoever asks may know the id only
    assert [row["active_tasks"] for row in await house.in_database(agents.list_agents)] == [0, 1]
    again = await house.enrol_agent(owner=before, again=old)
    assert await again.report(task_id, "running") == ["taken"]


@pytest.mark.parametrize("is_revoked", [True, False])
@pytest.mark.parametrize("owner", ["alice", None])
async def test_a_spools_id_is_no_proof_at_another_path(house: House, owner: str | None, is_revoked: bool) -> None:
    await revoke(house)
    old = await house.enrol_agent(owner=owner)
    task_id = await house.make_task()
    if is_revoked:
        await revoke(house, old)
    code = await house.make_code(owner, old.spool.with_name("another"))
    status, problem = await ask_to_enrol(house.client, code, old.spool_id)

    assert (status, problem.get("key")) == (409, "spool_taken")
    assert "made for another inbox" in problem["detail"]
    assert "`mltm-gateway agent move`" in problem["next_step"]
    listed = await house.in_database(agents.list_agents)
    assert [row["inbox"] for row in listed if row["active_tasks"]] == [str(Spool(old.spool).inbox.root)]
    assert (await house.call("GET", f"/v1/tasks/{task_id}"))[0] == 200


async def test_an_agent_of_another_cluster_gets_none_of_the_tasks_of_its_spool(house: House) -> None:
    task_id = await house.make_task()
    await revoke(house)
    code = await house.make_code(None, house.agent.spool, "elsewhere")
    new = await enrol(house.client, code, house.agent.spool, again=house.agent)

    assert await new.poll(wait=0) == []
    assert await new.report(task_id, "running") == ["refused"]


async def test_a_code_that_was_refused_can_still_be_used_on_the_right_spool(house: House) -> None:
    await revoke(house)
    place = house.agent.spool.with_name("another")
    code = await house.make_code("alice", place)

    assert (await ask_to_enrol(house.client, code, house.agent.spool_id))[0] == 409
    assert (await ask_to_enrol(house.client, code, "e" * 32))[0] == 200


def add_as_older_versions_did(agent_id: str, owner: str, inbox: str, spool_id: str) -> None:
    at = render_timestamp(Clock().now())
    Agent.create(
        agent_id=agent_id, cluster=CLUSTER, owner=owner, owner_id=USER_IDS[owner], inbox=inbox, spool_id=spool_id,
        credential_sha256=agent_id, host="h", unix_user="u", version="1", enrolled_at=at,
    )  # fmt: skip


async def test_an_agent_that_has_its_spool_beside_another_owners_since_an_older_version_keeps_its_own(
    house: House,
) -> None:
    shared, theirs = house.agent, await house.make_task()
    await revoke(house)
    await house.in_database(
        add_as_older_versions_did, "a" * 32, "alice", str(Spool(shared.spool).inbox.root), shared.spool_id
    )
    own = await house.make_task()
    new = await house.enrol_agent(owner="alice", again=shared)

    assert (await house.in_database(agents.find_agent, hash_secret(new.credential))).agent_id == "a" * 32
    assert await new.report(own, "running") == ["taken"]
    assert await new.report(theirs, "running") == ["refused"]


NO_PROOFS: dict[str, Callable[[FakeAgent], bytes | None]] = {
    "none": lambda _: None,
    "a guess": lambda _: b"k" * 32,
    "another spool's key": lambda other: other.key,
}


@pytest.mark.parametrize("case", NO_PROOFS)
@pytest.mark.parametrize("is_revoked", [True, False])
async def test_who_knows_a_spools_id_and_has_a_code_for_it_still_needs_its_key(
    house: House, case: str, is_revoked: bool
) -> None:
    other, victim = house.agent, await house.enrol_agent(owner="alice")
    task_id = await house.make_task()
    if is_revoked:
        await revoke(house, victim)
    code = await house.make_code("alice", victim.spool)
    status, problem = await ask_to_enrol(house.client, code, victim.spool_id, key=NO_PROOFS[case](other))

    assert (status, problem.get("key")) == (409, "spool_not_proved")
    assert "agent/spool_key" in problem["next_step"]
    assert (await ask_to_enrol(house.client, code, victim.spool_id, key=victim.key))[0] == 200  # the code is not lost
    assert (await house.call("GET", f"/v1/tasks/{task_id}"))[0] == 200


async def test_a_proof_made_for_one_code_is_none_for_another(house: House) -> None:
    used, new = [await house.make_code(None, house.agent.spool) for _ in range(2)]
    asked = {
        "code": new, "host": "h", "unix_user": "svc", "spool_id": house.agent.spool_id,
        "proof": prove_enrolment(house.agent.key, house.agent.spool_id, used),
    }  # fmt: skip
    async with house.client.post(routes.AGENT_ENROL, json=asked) as answer:
        assert (answer.status, (await answer.json())["key"]) == (409, "spool_not_proved")


async def test_a_spools_key_is_the_same_after_every_enrolment_and_nobody_elses(house: House) -> None:
    again = await house.enrol_agent(again=house.agent)
    other = await house.enrol_agent(owner="alice")

    assert again.key == house.agent.key != other.key


async def test_an_agent_that_has_no_key_yet_gets_one_with_its_next_enrolment(house: House) -> None:
    await house.in_database(lambda: Agent.update(has_key=False).execute())
    code = await house.make_code(None, house.agent.spool)
    status, body = await ask_to_enrol(house.client, code, house.agent.spool_id)

    assert (status, parse_key(body["spool_key"])) == (200, house.agent.key)


async def test_a_moved_agent_gets_what_waits_in_its_new_inbox(house: House, tmp_path: Path) -> None:
    task_id = TaskId(await house.make_task())
    await eventually(Spool(house.agent.spool).inbox.bundle(task_id).exists)
    identity = await house.services.agents.authenticate(house.agent.credential)
    new = Inbox(tmp_path / "elsewhere")
    new.root.mkdir()
    moved = await house.in_database(agents.move_agent, identity.agent_id, new.root)

    await eventually(new.bundle(task_id).exists)
    proof = (new.bundle(task_id) / PROOF).read_text().strip()
    manifest = (new.bundle(task_id) / MANIFEST).read_bytes()
    assert proof == prove_bundle(house.agent.key, house.agent.spool_id, manifest)
    assert (moved.inbox, moved.key) == (new.root, house.agent.key)


async def test_an_inbox_is_never_two_agents(house: House) -> None:
    other = await house.enrol_agent(owner="alice")
    identity = await house.services.agents.authenticate(house.agent.credential)
    with pytest.raises(ConflictError, match="the inbox of another agent"):
        await house.in_database(agents.move_agent, identity.agent_id, Spool(other.spool).inbox.root)
    with pytest.raises(NotFoundError, match="no agent"):
        await house.in_database(agents.move_agent, "nobody", Spool(other.spool).inbox.root)


async def test_a_bundle_that_went_to_the_old_inbox_in_the_middle_of_a_move_is_published_in_the_new_one(
    house: House, tmp_path: Path
) -> None:
    identity = await house.services.agents.authenticate(house.agent.credential)
    task_id, old = await house.make_task(), Spool(house.agent.spool).inbox.root

    def move_and_mark() -> str:
        Outbox.update(step="waiting").where(Outbox.task_id == task_id).execute()
        agents.move_agent(identity.agent_id, tmp_path / "new")
        mark(task_id, "waiting", "published", old)  # what the publisher has just done
        return str(Outbox.get_by_id(task_id).step)

    assert await house.in_database(move_and_mark) == "waiting"
