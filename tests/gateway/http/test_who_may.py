"""Who may do what: every user at every address, tokens that ended, agents that were revoked."""

import pytest

from gateway.http.endpoints.route_table import ROUTES
from gateway.store import agents
from mltm.contract import routes
from mltm.runtime.clock import Clock
from tests.gateway.fixtures import PASSWORD, House

OPEN = {routes.LOGIN, routes.HEALTH, routes.OPENAPI, routes.DOCS, "/docs/{file_name}", routes.AGENT_ENROL}
OF_A_TASK = [
    ("GET", routes.TASK), ("POST", routes.TASK_CANCEL), ("POST", routes.TASK_HOLD),
    ("POST", routes.TASK_RELEASE), ("GET", routes.TASK_LOG), ("GET", routes.TASK_OUTPUTS),
    ("GET", routes.TASK + "/outputs/model.bin"), ("GET", routes.PREDECESSOR_TASK), ("GET", "/job_status/{task_id}"),
]  # fmt: skip


def fill(path: str) -> str:
    """An address with something in every place."""
    names = ("task_id", "job_id", "command_id", "token_id", "username")
    return path.format(**dict.fromkeys(names, "0" * 32), path="x")


CLOSED = [(route.method, route.document_path) for route in ROUTES if route.document_path not in OPEN]


async def test_every_address_but_the_open_ones_asks_who_calls(house: House) -> None:
    assert len(CLOSED) > 20
    for method, path in CLOSED:
        for slash in ("", "/") if not path.endswith("{path}") else ("",):
            assert (await house.call(method, fill(path) + slash, None))[0] == 401, path


async def test_nobody_but_owner_and_admin_reaches_a_task(house: House) -> None:
    task_id = await house.make_task("bob")
    await house.agent.report(task_id, "running", job_id="4711")
    for method, path in [*OF_A_TASK, ("GET", "/task/4711"), ("GET", "/job_status/4711")]:
        address = path.format(task_id=task_id)
        status, problem = await house.call(method, address, "alice")
        assert (status, problem["key"]) == (404, "task_not_found"), address
    assert await house.agent.poll(wait=0) == []
    assert (await house.call("GET", routes.TASKS, "alice"))[1]["tasks"] == []
    assert (await house.call("GET", "/tasks", "alice"))[1] == []

    for who in ("bob", "root"):
        for path in (f"/v1/tasks/{task_id}", f"/task/{task_id}/", "/task/4711", "/job_status/4711"):
            assert (await house.call("GET", path, who))[0] == 200
    assert (await house.call("POST", f"/v1/tasks/{task_id}/cancel", "root"))[0] == 200


@pytest.mark.parametrize("path", ["/users", "/users/", "/users/bob", "/users/bob/"])
async def test_users_are_for_admins_and_show_no_hash(house: House, path: str) -> None:
    status, problem = await house.call("GET", path, "alice")
    assert (status, problem["key"]) == (403, "forbidden")

    status, rows = await house.call("GET", path, "root")
    assert status == 200
    for row in rows if isinstance(rows, list) else [rows]:
        assert set(row) == {"username", "role", "created_at"}


async def test_agents_and_users_cannot_stand_in_for_each_other(house: House) -> None:
    assert (await house.call("GET", routes.TASKS, None, headers=house.agent.headers))[0] == 401
    assert (await house.call("GET", routes.AGENT_COMMANDS, "root"))[0] == 401


async def test_a_revoked_token_ends_at_once(house: House) -> None:
    _, made = await house.call("POST", routes.TOKENS, json={"name": "ci"})
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert (await house.call("GET", routes.WHOAMI, None, headers=headers))[0] == 200
    assert (await house.call("DELETE", f"/v1/tokens/{made['token_id']}", "bob"))[0] == 404
    assert (await house.call("DELETE", f"/v1/tokens/{made['token_id']}"))[0] == 204

    status, problem = await house.call("GET", routes.WHOAMI, None, headers=headers)
    assert (status, problem["key"]) == (401, "bad_token")
    assert made["token"] not in str((await house.call("GET", routes.TOKENS))[1])


async def test_a_token_can_end_itself_and_ends_no_other(house: House) -> None:
    _, made = await house.call("POST", routes.TOKENS, json={"name": "ci"})
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert (await house.call("DELETE", "/v1/tokens/current", None, headers=headers))[0] == 204

    assert (await house.call("GET", routes.WHOAMI, None, headers=headers))[0] == 401
    assert (await house.call("GET", routes.WHOAMI))[0] == 200


async def test_a_revoked_agent_is_told_so_and_its_task_stays(house: House) -> None:
    task_id = await house.make_task()
    agent = await house.services.agents.authenticate(house.agent.credential)
    await house.in_database(agents.revoke_agent, agent.agent_id, Clock().now())

    for method, path in (("GET", routes.AGENT_COMMANDS), ("POST", routes.AGENT_REPORTS)):
        status, problem = await house.call(method, path, None, headers=house.agent.headers, json={"reports": []})
        assert (status, problem["key"]) == (401, "credential_revoked")
        assert "mltm-agent enroll" in problem["next_step"]
    assert (await house.call("GET", f"/v1/tasks/{task_id}"))[1]["state"] == "accepted"
    status, problem = await house.submit()
    assert (status, problem["fields"][0]["field"]) == (422, "runner_location")


async def test_wrong_passwords_are_counted(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    # argon2 is slow on purpose; test_predecessor logs in through it.
    monkeypatch.setattr("gateway.services.users.is_password", lambda _stored, password: password == PASSWORD)
    wrong = {"username": "alice", "password": "not it at all"}
    answers = [await house.call("POST", routes.LOGIN, None, data=wrong) for _ in range(11)]
    assert [status for status, _ in answers] == [401] * 10 + [429]
    assert {problem["key"] for _, problem in answers} == {"bad_login", "too_many_logins"}

    status, answer = await house.call("POST", routes.LOGIN, None, data={"username": "bob", "password": PASSWORD})
    assert (status, answer["token_type"]) == (200, "bearer")


async def test_a_code_enrols_one_agent_once(house: House) -> None:
    asked = {"code": "enrol_wrong", "host": "x", "unix_user": "x", "spool_id": "a" * 32}
    status, problem = await house.call("POST", routes.AGENT_ENROL, None, json=asked)

    assert (status, problem["key"]) == (401, "bad_code")
    assert problem["next_step"]


async def test_an_agent_reports_only_its_own_tasks(house: House) -> None:
    task_id = await house.make_task()
    other_spool = {**house.agent.build(task_id, "running"), "spool_id": "f" * 32}
    unknown = house.agent.build("0" * 32, "running")
    outcomes = await house.agent.send(other_spool, unknown, house.agent.build(task_id, "pending"))

    assert [outcome["outcome"] for outcome in outcomes] == ["refused", "unknown_task", "taken"]
    assert all(outcome["message"] for outcome in outcomes[:2])
    assert (await house.call("GET", f"/v1/tasks/{task_id}"))[1]["state"] == "pending"


async def test_a_number_used_for_another_report_is_a_conflict(house: House) -> None:
    task_id = await house.make_task()
    report = house.agent.build(task_id, "running")
    outcomes = await house.agent.send(report, report, {**report, "state": "failed", "closed": True})

    assert [outcome["outcome"] for outcome in outcomes] == ["taken", "known", "conflict"]
