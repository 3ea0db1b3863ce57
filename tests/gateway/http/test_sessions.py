"""Tokens of logins and codes of agents: each is new, is used where it belongs, and ends."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.store import users
from gateway.store.models import EnrolCode
from mltm.contract import routes
from mltm.runtime.clock import Clock
from tests.gateway.fixtures import PASSWORD, House, ask_to_enrol

NEW = "five grey herons"
RIGHT = {"username": "bob", "password": PASSWORD}


async def log_in(house: House) -> str:
    status, answer = await house.call("POST", routes.LOGIN, None, data=RIGHT)
    assert status == 200, answer
    return str(answer["access_token"])


async def ask_who(house: House, token: str) -> int:
    return (await house.call("GET", routes.WHOAMI, None, headers={"Authorization": f"Bearer {token}"}))[0]


async def test_each_login_has_a_token_of_its_own_that_ends_and_a_password_does_not(house: House) -> None:
    first, second = await log_in(house), await log_in(house)
    assert first != second
    assert [await ask_who(house, token) for token in (first, second)] == [200, 200]

    house.time.ahead += timedelta(days=house.settings.token_days, seconds=5)
    assert [await ask_who(house, token) for token in (first, second)] == [401, 401]

    house.time.ahead += timedelta(days=3650)
    assert await ask_who(house, await log_in(house)) == 200


async def test_a_user_sees_his_sessions_and_can_end_each(house: House) -> None:
    token = await log_in(house)
    headers = {"Authorization": f"Bearer {token}"}
    _, listed = await house.call("GET", routes.TOKENS, "bob")
    (own,) = [one for one in listed if one["name"] == "login"]
    assert token not in str(listed)

    assert (await house.call("DELETE", f"/v1/tokens/{own['token_id']}", "bob"))[0] == 204
    assert (await house.call("GET", routes.WHOAMI, None, headers=headers))[0] == 401


async def change(house: House, token: str, current: str, new: str) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"}
    body = {"current_password": current, "new_password": new}
    return await house.call("PUT", routes.PASSWORD, None, headers=headers, json=body)


async def test_a_user_changes_his_password_and_all_his_tokens_end(house: House) -> None:
    token = await log_in(house)
    assert (await change(house, token, PASSWORD, NEW))[0] == 204

    assert [await ask_who(house, one) for one in (token, house.tokens["bob"], house.tokens["alice"])] == [401, 401, 200]
    assert (await house.call("POST", routes.LOGIN, None, data=RIGHT))[0] == 401
    assert (await house.call("POST", routes.LOGIN, None, data={**RIGHT, "password": NEW}))[0] == 200


async def test_a_stolen_token_changes_no_password_and_guesses_are_limited(house: House) -> None:
    answers = [await change(house, house.tokens["bob"], "a guess", NEW) for _ in range(11)]

    assert [status for status, _ in answers] == [403] * 10 + [429]
    assert [answers[0][1]["key"], answers[10][1]["key"]] == ["wrong_password", "too_many_logins"]
    assert await ask_who(house, house.tokens["bob"]) == 200


@pytest.mark.parametrize(
    ("new", "key"),
    [
        ("herons7", "short_password"),
        ("iloveyou2", "common_password"),
        ("bob bob bob 2026", "named_password"),
        ("x" * 1025, "invalid"),
    ],
)
async def test_a_new_password_is_judged_and_never_shown(house: House, new: str, key: str) -> None:
    status, problem = await change(house, house.tokens["bob"], PASSWORD, new)

    assert (status, problem["key"]) == (422, key)
    assert new not in str(problem)
    assert new[:70] not in str(problem) or len(new) < 70
    assert (await house.call("POST", routes.LOGIN, None, data=RIGHT))[0] == 200


async def test_a_password_that_was_changed_meanwhile_stays(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(_stored: str | None, _password: str) -> bool:
        return True

    async def change_first(*_: object) -> float:
        await house.in_database(users.set_password, "bob", "another hash", Clock().now())
        return 0.0

    monkeypatch.setattr("gateway.services.users.is_password", check)
    monkeypatch.setattr(house.services.users._limits, "admit", change_first)

    assert (await change(house, house.tokens["bob"], PASSWORD, NEW))[0] == 401
    known = await house.in_database(users.find_password, "bob")
    assert known is not None
    assert known.password_hash == "another hash"


@pytest.mark.parametrize("name", ["token", "access_token", "authorization", "Authorization"])
async def test_a_token_in_the_address_or_a_cookie_is_none(house: House, name: str) -> None:
    token = house.tokens["alice"]
    for given in (token, f"Bearer {token}"):
        assert (await house.call("GET", routes.WHOAMI, None, params={name: given}))[0] == 401
        assert (await house.call("GET", routes.WHOAMI, None, headers={"Cookie": f"{name}={given}"}))[0] == 401


async def test_a_code_is_used_once(house: House, tmp_path: Path) -> None:
    code = await house.make_code("bob", tmp_path)
    assert (await ask_to_enrol(house.client, code, "a" * 32))[0] == 200

    status, problem = await ask_to_enrol(house.client, code, "b" * 32)
    assert (status, problem["key"]) == (401, "bad_code")
    assert "it was used before" in problem["detail"]


async def test_a_code_ends_after_ten_minutes_and_only_its_hash_is_kept(house: House, tmp_path: Path) -> None:
    code = await house.make_code("bob", tmp_path)
    rows = await house.in_database(lambda: list(EnrolCode.select().tuples()))
    assert code not in str(rows)

    house.time.ahead += timedelta(minutes=10, seconds=5)
    status, problem = await ask_to_enrol(house.client, code, "a" * 32)
    assert (status, problem["key"]) == (401, "code_expired")


@pytest.mark.parametrize("query", ["limit=1&limit=2", "limit=1&limit=1"])
async def test_a_field_that_is_given_twice_is_refused(house: House, query: str) -> None:
    status, problem = await house.call("GET", f"{routes.TASKS}?{query}")
    assert (status, problem["fields"][0]["field"], "given twice" in problem["detail"]) == (422, "limit", True)

    form = "username=alice&password=x&username=root"
    status, problem = await house.call(
        "POST", routes.LOGIN, None, data=form, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert (status, problem["fields"][0]["field"]) == (422, "username")


async def test_two_headers_with_a_token_are_none(house: House) -> None:
    headers = [("Authorization", f"Bearer {house.tokens[who]}") for who in ("alice", "root")]
    async with house.client.get(routes.WHOAMI, headers=headers) as answer:
        assert answer.status == 401
