"""A user who is removed: what was his ends, what he did stays for admins, and his name is later somebody else's."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientPayloadError, web

from gateway.errors import UnauthorizedError
from gateway.http import arguments
from gateway.services.passwords import hash_secret
from gateway.store import agents, users
from gateway.values import User
from mltm.contract import routes
from mltm.runtime.clock import Clock
from tests.gateway.agent import START
from tests.gateway.build import CLUSTER, config
from tests.gateway.fixtures import PASSWORD, USER_IDS, House, ask_to_enrol, eventually, open_house

ALICE = User("alice", "user", USER_IDS["alice"])
TASK = "0190a0b0c0d07e0f8a0b0c0d0e0f0a0b"


async def remove(house: House, name: str = "alice") -> users.Removed:
    return await house.in_database(users.remove_user, name, Clock().now())


async def add_again(house: House, name: str = "alice") -> None:
    """The name is added again; `house` then calls as the new user."""
    user = await house.in_database(users.add_user, name, "user", None, Clock().now())
    secret = Clock().new_secret("mltm_")
    new = users.NewToken(Clock().new_id(), user, "test", hash_secret(secret), Clock().now(), None)
    await house.in_database(users.add_token, new)
    house.tokens[name] = secret


async def test_his_tokens_agents_and_codes_end_with_a_reason(house: House, tmp_path: Path) -> None:
    own = await house.enrol_agent(owner="alice")
    code = await house.make_code("alice", tmp_path, "elsewhere")
    ended = await remove(house)

    assert (ended.tokens, ended.agents, ended.codes) == (1, 1, 1)
    assert (await house.call("GET", routes.WHOAMI))[0] == 401
    status, problem = await house.call("GET", routes.AGENT_COMMANDS, None, headers=own.headers)
    assert (status, problem["key"]) == (401, "credential_revoked")
    assert "its owner alice was removed" in problem["detail"]
    assert (await ask_to_enrol(house.client, code, "d" * 32))[0] == 401
    assert (await house.call("GET", routes.AGENT_COMMANDS, None, headers=house.agent.headers, params={"wait": "0"}))[
        0
    ] == 200


async def test_a_name_that_comes_again_is_somebody_else(house: House) -> None:
    task_id = await house.make_task()
    await house.agent.report(task_id, "running", job_id="4711")
    await house.submit(parts=None, Idempotency_Key="mine")
    await house.call("POST", routes.TOKENS, json={"name": "old"})
    old = await house.enrol_agent(owner="alice")
    await remove(house)
    await add_again(house)

    assert (await house.call("GET", routes.TASKS))[1] == {"tasks": [], "next": None}
    assert (await house.call("GET", routes.PREDECESSOR_TASKS))[1] == []
    for path in (f"/v1/tasks/{task_id}", f"/task/{task_id}", "/task/4711", "/job_status/4711"):
        assert (await house.call("GET", path))[0] == 404, path
    assert (await house.call("POST", f"/v1/tasks/{task_id}/cancel"))[0] == 404
    assert [token["name"] for token in (await house.call("GET", routes.TOKENS))[1]] == ["test"]
    status, again = await house.submit(parts=None, Idempotency_Key="mine")
    assert (status, again["task_id"] != task_id) == (201, True)
    code = await house.make_code("alice", old.spool)
    status, problem = await ask_to_enrol(house.client, code, old.spool_id)
    assert (status, problem["key"]) == (409, "spool_taken")
    assert (await house.call("GET", f"/v1/tasks/{task_id}", "root"))[1]["owner"] == "alice"


async def test_an_agent_that_reports_again_does_not_hand_old_tasks_to_the_new_user_of_the_name(house: House) -> None:
    task_id = await house.make_task()
    await remove(house)
    await add_again(house)

    assert await house.agent.report(task_id, "running") == ["taken"]
    assert (await house.call("GET", f"/v1/tasks/{task_id}"))[0] == 404


def manifest(owner: str) -> dict[str, Any]:
    return {
        "task_id": TASK, "owner": owner, "cluster": CLUSTER, "submitted_at": START.isoformat(), "script_name": "s.py",
        "config": config(), "files": [], "source": "drop",
    }  # fmt: skip


async def test_a_task_of_nobody_belongs_to_no_user_who_comes_later(tmp_path: Path) -> None:
    async with open_house(tmp_path, unix_user="carol") as house:
        assert await house.agent.report(TASK, "running", manifest=manifest("")) == ["taken"]
        await add_again(house, "carol")

        assert (await house.call("GET", f"/v1/tasks/{TASK}", "carol"))[0] == 404
        assert (await house.call("GET", f"/v1/tasks/{TASK}", "root"))[1]["owner"] == "carol"


async def test_what_a_private_agent_reports_is_its_owners_whatever_the_manifest_says(house: House) -> None:
    own = await house.enrol_agent(owner="alice")

    assert await own.report(TASK, "running", manifest=manifest("bob")) == ["taken"]
    assert (await house.call("GET", f"/v1/tasks/{TASK}", "alice"))[1]["owner"] == "alice"
    assert (await house.call("GET", f"/v1/tasks/{TASK}", "bob"))[0] == 404


async def test_a_download_ends_at_its_next_piece(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.http.endpoints.outputs._PIECE_BYTES", 4)
    task_id, whole = await house.make_task(), b"12345678"

    async def read() -> bytes:
        async with house.client.get(f"/v1/tasks/{task_id}/outputs/f", headers=house.headers("alice")) as answer:
            return await answer.read()

    reading = asyncio.ensure_future(read())
    (command,) = await house.agent.poll()
    await remove(house)
    await house.agent.bring(command, whole, final=False)

    with pytest.raises(ClientPayloadError):
        await asyncio.wait_for(reading, 10)
    assert [c["kind"] for c in await house.agent.poll(wait=0)] == []


async def test_a_long_poll_of_his_agent_gets_no_command_any_more(house: House) -> None:
    own = await house.enrol_agent(owner="alice")
    identity = await house.services.agents.authenticate(own.credential)
    task_id = await house.make_task()
    waiting = asyncio.ensure_future(house.services.agents.open_commands(identity, 10))
    await eventually(lambda: bool(house.services.agents._wake._waiting.get("commands")))
    await remove(house)
    await house.call("POST", f"/v1/tasks/{task_id}/cancel", "root")

    with pytest.raises(UnauthorizedError, match="its owner alice was removed"):
        await waiting


async def test_who_is_removed_while_his_files_come_gets_no_task(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    user = await house.services.users.authenticate(house.tokens["alice"])
    await remove(house)
    await add_again(house)

    async def authenticate(_bearer: str) -> object:
        return user

    monkeypatch.setattr(house.services.users, "authenticate", authenticate)
    status, problem = await house.submit()

    assert (status, problem["key"]) == (401, "bad_token")
    assert house.left_behind() == []
    assert (await house.call("POST", routes.TOKENS, json={"name": "late"}))[0] == 401


async def test_an_admin_who_was_removed_sees_nothing_more(house: House) -> None:
    user = await house.services.users.authenticate(house.tokens["root"])
    await remove(house, "root")

    with pytest.raises(UnauthorizedError):
        await house.services.tasks.list(user)


HELD = [
    ("POST", routes.TOKENS, "alice", b'{"name": "late"}'),
    ("POST", routes.AGENT_REPORTS, "agent", b'{"reports": []}'),
]


@pytest.mark.parametrize(("method", "path", "who", "body"), HELD)
async def test_a_body_that_comes_after_the_proof_was_revoked_does_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch, method: str, path: str, who: str, body: bytes
) -> None:
    """Otherwise a thief keeps a request open until the password is changed, and then makes a token of his own."""
    is_reading, read = asyncio.Event(), arguments._read_body

    async def note(request: web.Request, limit: int) -> bytes:
        is_reading.set()
        return await read(request, limit)

    monkeypatch.setattr(arguments, "_read_body", note)
    reader, writer = await asyncio.open_connection("127.0.0.1", house.client.port)
    bearer = house.agent.credential if who == "agent" else house.tokens[who]
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\nConnection: close\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:1])
    await writer.drain()
    await asyncio.wait_for(is_reading.wait(), 10)
    if who == "agent":
        agent = await house.services.agents.authenticate(house.agent.credential)
        await house.in_database(agents.revoke_agent, agent.agent_id, Clock().now())
    else:
        await house.in_database(users.set_password, who, "another hash", Clock().now())
    writer.write(body[1:])
    await writer.drain()
    status = (await reader.readline()).split()[1]
    writer.close()

    assert status == b"401"


async def test_a_download_ends_when_the_password_is_changed(house: House) -> None:
    user = await house.services.users.authenticate(house.tokens["alice"])
    task_id = await house.make_task()
    await house.in_database(users.set_password, "alice", "another hash", Clock().now())

    with pytest.raises(UnauthorizedError):
        await house.services.tasks.read(user, task_id)


async def test_a_login_with_the_old_password_gets_no_token_after_the_change(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_hashing, may_go_on = threading.Event(), threading.Event()

    def check(_stored: str | None, _password: str) -> bool:
        is_hashing.set()
        return may_go_on.wait(20)

    monkeypatch.setattr("gateway.services.users.is_password", check)
    form = {"username": "alice", "password": PASSWORD}
    login = asyncio.ensure_future(house.call("POST", routes.LOGIN, None, data=form))
    await eventually(is_hashing.is_set)
    await house.in_database(users.set_password, "alice", "another hash", Clock().now())
    may_go_on.set()
    status, problem = await login

    assert (status, problem["key"]) == (401, "bad_login")
    assert await house.in_database(users.list_tokens, ALICE, Clock().now()) == []
