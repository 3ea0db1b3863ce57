"""The security log: every event with who, where and when; no secret ever; a bad disk stops nobody."""

import asyncio
import contextlib
import io
import json
import os
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.origin import Origin, entered
from gateway.security_log import EVENTS, MAX_LINE_BYTES, SecurityLog
from gateway.services.passwords import hash_secret
from gateway.settings import GatewaySettings, list_weak_settings
from gateway.store import agents, users
from mltm.contract import routes
from mltm.runtime.clock import Clock
from mltm.runtime.logging_setup import set_up_logging
from tests.gateway.fixtures import PASSWORD, House, ask_to_enrol, open_house

DOCS = Path(__file__).resolve().parents[2] / "docs" / "operate.md"
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
Line = dict[str, Any]


def read_lines(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def read_log(house: House, count: int, event: str = "") -> list[Line]:
    """The events so far; wait until the thread has written so many."""
    path = house.settings.security_log_path
    async with asyncio.timeout(10):
        while True:
            lines = await asyncio.to_thread(read_lines, path)
            found = [line for line in lines if event in ("", line["event"])]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.005)


@contextlib.contextmanager
def writing(path: Path, moments: Iterator[datetime] | None = None) -> Iterator[SecurityLog]:
    log = SecurityLog(path, (lambda: next(moments)) if moments else lambda: NOW)
    try:
        yield log
    finally:
        log.close()


async def test_a_login_and_a_guess_say_who_from_where_and_when(house: House) -> None:
    await house.call("POST", routes.LOGIN, None, data={"username": "alice", "password": PASSWORD})
    await house.call("POST", routes.LOGIN, None, data={"username": "alice", "password": "guess one"})
    await house.call("POST", routes.LOGIN, None, data={"username": PASSWORD, "password": "guess two"})
    right, wrong, unknown = await read_log(house, 3, "login")

    assert [line["outcome"] for line in (right, wrong, unknown)] == ["ok", "failed", "failed"]
    for line in (right, wrong):
        assert (line["user"], len(line["user_id"]), line["address"]) == ("alice", 32, "127.0.0.1")
        assert len(line["request_id"]) == 32
        assert datetime.fromisoformat(line["at"]).utcoffset() == timedelta(0)
    assert right["token_id"]
    assert unknown["user"].startswith("unknown-")
    assert "user_id" not in unknown


async def test_tokens_are_noted_when_they_are_made_revoked_or_used_too_late(house: House) -> None:
    _, made = await house.call("POST", routes.TOKENS, json={"name": "ci"})
    await house.call("DELETE", f"/v1/tokens/{made['token_id']}")
    await house.call("GET", routes.WHOAMI, None, headers={"Authorization": f"Bearer {made['token']}"})
    _, login = await house.call("POST", routes.LOGIN, None, data={"username": "bob", "password": PASSWORD})
    house.time.ahead += timedelta(days=31)
    await house.call("GET", routes.WHOAMI, None, headers={"Authorization": f"Bearer {login['access_token']}"})
    await house.call("GET", routes.WHOAMI, None, headers={"Authorization": "Bearer mltm_guess"})
    revoked, expired, unknown = await read_log(house, 3, "token_refused")

    assert (await read_log(house, 1, "token_created"))[0]["token_id"] == made["token_id"]
    assert (await read_log(house, 1, "token_revoked"))[0]["user"] == "alice"
    assert (revoked["reason"], revoked["user"], revoked["token_id"]) == ("revoked", "alice", made["token_id"])
    assert (expired["reason"], expired["user"]) == ("expired", "bob")
    assert "user" not in unknown


async def test_what_belongs_to_others_is_noted_and_what_does_not_exist_is_not(house: House) -> None:
    task_id = await house.make_task("bob")
    await house.agent.report(task_id, "running", job_id="4711")
    await house.call("GET", f"/v1/tasks/{'0' * 32}")
    await house.call("GET", "/task/12345")
    await house.call("POST", f"/v1/tasks/{task_id}/cancel")
    await house.call("GET", "/task/4711")
    await house.call("GET", "/users")
    foreign, job, admin_only = await read_log(house, 3, "access_refused")

    assert (foreign["user"], foreign["task_id"], foreign["route"]) == (
        "alice", task_id, "POST /v1/tasks/{task_id}/cancel",
    )  # fmt: skip
    assert foreign["of_user_id"] != foreign["user_id"]
    assert job["job_id"] == "4711"
    assert (admin_only["key"], admin_only["route"]) == ("forbidden", "GET /users")


async def test_who_is_stopped_by_a_limit_is_noted_and_is_no_login(house: House) -> None:
    task_id = await house.make_task()
    with contextlib.ExitStack() as held:
        for _ in range(8):
            held.enter_context(house.services.lanes.enter("files", "User alice"))
        assert (await house.call("GET", f"/v1/tasks/{task_id}/log"))[0] == 429
    for _ in range(61):
        await house.call("GET", routes.WHOAMI, None, headers={"Authorization": "Bearer mltm_guess"})
    user, guesser = await read_log(house, 2, "limit_reached")

    assert (user["key"], user["user"], user["outcome"]) == ("too_many_at_once", "alice", "limited")
    assert user["route"] == "GET /v1/tasks/{task_id}/log"
    assert (guesser["key"], guesser["address"], "user" in guesser) == ("too_many_guesses", "127.0.0.1", False)
    assert [line for line in await read_log(house, 63) if line["event"] == "login"] == []


async def test_an_admin_at_others_tasks_is_noted_before_he_gets_anything(house: House) -> None:
    task_id, own = await house.make_task("bob"), await house.make_task("root")
    await house.call("GET", f"/v1/tasks/{own}", "root")
    await house.call("GET", f"/v1/tasks/{task_id.upper()}", "root")
    await house.call("POST", f"/v1/tasks/{task_id}/hold", "root")
    await house.call("GET", f"/task/{task_id[:8]}-{task_id[8:]}/", "root")
    await house.agent.report(task_id, "running", job_id="4711")
    await house.call("GET", "/job_status/4711", "root")
    lines = await read_log(house, 4, "admin_access")

    assert [(line["user"], line["task_id"], line["of_user"]) for line in lines] == [("root", task_id, "bob")] * 4
    assert [line["route"] for line in lines] == [
        "GET /v1/tasks/{task_id}", "POST /v1/tasks/{task_id}/hold", "GET /task/{task_id}/", "GET /job_status/{job_id}",
    ]  # fmt: skip


async def test_enrolments_and_agents_are_noted(house: House, tmp_path: Path) -> None:
    task_id = await house.make_task()
    await ask_to_enrol(house.client, "enrol_guess", "a" * 32)
    other = await house.enrol_agent("bob")
    await other.report(task_id, "running")
    identity = await house.services.agents.authenticate(other.credential)
    await house.in_database(agents.revoke_agent, identity.agent_id, Clock().now())
    await house.call("GET", routes.AGENT_COMMANDS, None, headers=other.headers)
    first, guess, second = await read_log(house, 3, "enrolment")

    assert [line["outcome"] for line in (first, guess, second)] == ["ok", "refused", "ok"]
    assert (second["of_user"], second["agent_id"]) == ("bob", identity.agent_id)
    assert (await read_log(house, 1, "reports_refused"))[0]["agent_id"] == identity.agent_id
    (refused,) = await read_log(house, 1, "agent_refused")
    assert (refused["key"], refused["agent_id"]) == ("credential_revoked", identity.agent_id)


async def test_no_secret_is_in_the_log_whatever_place_it_was_put_in(house: House, tmp_path: Path) -> None:
    secrets = [f"S3cret-{number}-x" for number in range(6)]
    _, made = await house.call("POST", routes.TOKENS, json={"name": secrets[0]})
    code = await house.make_code("alice", tmp_path)
    _, login = await house.call("POST", routes.LOGIN, None, data={"username": "alice", "password": PASSWORD})
    for username, password in (("alice", secrets[1]), (secrets[2], "x"), (PASSWORD, PASSWORD)):
        await house.call("POST", routes.LOGIN, None, data={"username": username, "password": password})
    for secret in (*secrets[3:5], made["token"]):
        await house.call("GET", routes.WHOAMI, None, headers={"Authorization": f"Bearer {secret}"})
        await house.call("DELETE", f"/v1/tokens/{secret}")
        await house.call("GET", f"/task/{secret}", "root")
        await house.call("GET", f"/users/{secret}?password={secret}", "alice")
        await ask_to_enrol(house.client, secret, "a" * 32)
    credential = (await house.enrol_agent("bob")).credential
    await ask_to_enrol(house.client, code, "b" * 32)
    await read_log(house, 14)
    await asyncio.to_thread(house.services.security.close)
    text = house.settings.security_log_path.read_text()

    given = [*secrets, PASSWORD, made["token"], login["access_token"], code, credential, house.agent.credential]
    assert [secret for secret in (*given, *house.tokens.values()) if secret in text] == []
    assert [secret for secret in given if hash_secret(secret) in text] == []


async def test_the_forwarded_address_of_a_trusted_proxy_is_in_the_log(tmp_path: Path) -> None:
    async with open_house(tmp_path, trusted_proxies=["127.0.0.0/8"]) as house:
        headers = {"X-Forwarded-For": "203.0.113.9", "Authorization": "Bearer mltm_guess"}
        await house.call("GET", routes.WHOAMI, None, headers=headers)
        (line,) = await read_log(house, 1, "token_refused")

    assert line["address"] == "203.0.113.9"


async def test_a_user_is_never_delayed_by_a_disk_that_hangs(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    may_go_on, write = threading.Event(), os.write

    def hang(descriptor: int, data: bytes) -> int:
        assert may_go_on.wait(20)
        return write(descriptor, data)

    monkeypatch.setattr("gateway.security_log.os.write", hang)
    status, _ = await house.call("POST", routes.TOKENS, json={"name": "ci"})
    assert status == 201
    may_go_on.set()
    await read_log(house, 1, "token_created")


def test_lines_are_json_and_bounded_and_have_no_control_characters(tmp_path: Path) -> None:
    nasty = ["\n{}\n", "\x1b[2J", "\u2028\x85", "\ud800", "x" * 1_000_000, "\U0001f600" * 1000, '"\\' * 1000]
    with writing(tmp_path / "log") as log:
        for text in nasty:
            with entered(Origin(*[text] * 7)):
                log.record("enrolment", **dict.fromkeys(EVENTS["enrolment"], text))
    raw = (tmp_path / "log").read_bytes()

    assert max(map(len, raw.splitlines())) < MAX_LINE_BYTES
    assert all(32 <= byte < 127 or byte == 10 for byte in raw)
    assert [line["event"] for line in read_lines(tmp_path / "log")] == ["enrolment"] * len(nasty)


def test_the_file_is_the_services_alone_and_only_grows(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with writing(tmp_path / "log") as log:
            log.record("gateway_started")
    finally:
        os.umask(old)
    first = (tmp_path / "log").read_bytes()
    with writing(tmp_path / "log") as log:
        log.record("gateway_started")

    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600
    assert (tmp_path / "log").read_bytes() == first * 2


def test_a_file_that_was_renamed_is_left_and_a_new_one_is_begun(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = SecurityLog(path, lambda: NOW)
    log.record("gateway_started", version="1")
    wait_for(lambda: path.exists() and path.stat().st_size > 0)
    path.rename(tmp_path / "log.1")
    log.record("gateway_started", version="2")
    log.close()

    assert [line["version"] for line in read_lines(tmp_path / "log.1")] == ["1"]
    assert [line["version"] for line in read_lines(path)] == ["2"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def wait_for(is_true: Any) -> None:
    for _ in range(10_000):
        if is_true():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it did not come")


@pytest.mark.parametrize("place", ["a folder", "a link", "a pipe", "no folder"])
def test_a_place_that_cannot_be_used_is_said_once_and_stops_nobody(tmp_path: Path, place: str) -> None:
    path, said = tmp_path / "log", io.StringIO()
    match place:
        case "a folder":
            path.mkdir()
        case "a link":
            path.symlink_to(tmp_path / "elsewhere")
        case "a pipe":
            os.mkfifo(path)
        case _:
            path = tmp_path / "none" / "log"
    set_up_logging(said)
    with writing(path) as log:
        for _ in range(3):
            log.record("gateway_started")

    assert said.getvalue().count("security_log_not_written") == 1
    assert str(path) in said.getvalue()
    assert not (tmp_path / "elsewhere").exists()


def test_what_a_full_disk_swallowed_is_counted_in_the_next_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[int | OSError] = [5, OSError(28, "No space left on device")]
    write, said = os.write, io.StringIO()

    def fill(descriptor: int, data: bytes) -> int:
        answer = answers.pop(0) if answers else None
        if isinstance(answer, OSError):
            raise answer
        return write(descriptor, data[:answer])

    set_up_logging(said)
    monkeypatch.setattr("gateway.security_log.os.write", fill)
    with writing(tmp_path / "log") as log:
        for number in range(4):
            log.record("gateway_started", version=str(number))
    torn, *rest = (tmp_path / "log").read_text().splitlines()

    assert len(torn) == 5
    assert [(line["event"], line.get("count"), line.get("version")) for line in map(json.loads, rest)] == [
        ("lines_lost", 2, None), ("gateway_started", None, "2"), ("gateway_started", None, "3"),
    ]  # fmt: skip
    assert said.getvalue().count("security_log_not_written") == 1
    assert said.getvalue().count("security_log_written_again") == 1


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::{:x}"])
def test_one_caller_cannot_fill_the_log(tmp_path: Path, address: str) -> None:
    with writing(tmp_path / "log") as log:
        for number in range(500):
            with entered(Origin(address=address.format(number))):
                log.record("access_refused", "refused", task_id=str(number))
        with entered(Origin(address="192.0.2.2")):
            log.record("access_refused", "refused")
    lines = read_lines(tmp_path / "log")

    assert (len(lines), "left_out" in lines[99], lines[100]["address"]) == (101, True, "192.0.2.2")


def test_every_event_and_field_stands_in_the_docs() -> None:
    _, _, section = DOCS.read_text().partition("## The security log")
    section = section.partition("\n## ")[0]
    rows = {line.split("|")[1].strip(" `"): line for line in section.splitlines() if line.startswith("| `")}

    assert set(rows) >= set(EVENTS)
    missing = [
        (event, field) for event, fields in EVENTS.items() for field in fields if f"`{field}`" not in rows[event]
    ]
    assert missing == []
    assert [name for name in Origin.__dataclass_fields__ if f"`{name}`" not in section] == []


@pytest.mark.parametrize(
    ("changes", "weak"),
    [
        ({}, set()),
        ({"host": "0.0.0.0"}, {"host"}),
        ({"host": "::"}, {"host"}),
        ({"host": "gateway.example"}, {"host"}),
        ({"host": "127.0.0.2", "trusted_proxies": ["10.0.0.1", "192.0.2.0/24"]}, set()),
        ({"trusted_proxies": ["0.0.0.0/0"]}, {"trusted_proxies"}),
        ({"trusted_proxies": ["::/0"], "token_days": 3650}, {"trusted_proxies", "token_days"}),
    ],
)
async def test_settings_that_weaken_safety_are_noted_at_the_start(
    tmp_path: Path, changes: dict[str, Any], weak: set[str]
) -> None:
    found = list_weak_settings(GatewaySettings.model_validate(changes))
    assert {setting for setting, _ in found} == weak

    async with open_house(tmp_path, **changes) as house:
        assert {line["setting"] for line in await read_log(house, len(weak), "weak_setting")} == weak
        assert len(await read_log(house, 1, "gateway_started")) == 1


async def test_a_user_who_was_added_behind_the_gateways_back_is_known_by_his_id(house: House) -> None:
    """The command writes beside the running gateway: see test_cli for its events."""
    await house.in_database(users.remove_user, "alice", Clock().now())
    await house.call("GET", routes.WHOAMI)
    (line,) = await read_log(house, 1, "token_refused")

    assert (line["user"], line["reason"]) == ("alice", "revoked")
