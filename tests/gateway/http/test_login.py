"""Logging in while others guess: limits that hold for tries at once, and other requests that never wait for hashing."""

import asyncio
import threading
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.services.passwords import is_password
from mltm.contract import routes
from mltm.runtime.clock import Clock
from tests.gateway.fixtures import PASSWORD, House, eventually, open_house

WRONG = {"username": "alice", "password": "not it at all"}
RIGHT = {"username": "bob", "password": PASSWORD}


class Hashing:
    """Stands for argon2: counts, and lasts until the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self.may_go_on, self.threads = 0, threading.Event(), set[str]()
        monkeypatch.setattr("gateway.services.users.is_password", self.check)

    def check(self, stored: str | None, password: str) -> bool:
        self.count += 1
        self.threads.add(threading.current_thread().name.rpartition("_")[0])
        assert self.may_go_on.wait(20)
        return stored is not None and password == PASSWORD


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> Hashing:
    return Hashing(monkeypatch)


def log_in(house: House, form: dict[str, str]) -> "asyncio.Future[tuple[int, Any]]":
    return asyncio.ensure_future(house.call("POST", routes.LOGIN, None, data=form))


async def test_sixty_guesses_at_once_are_ten_guesses(house: House, hashing: Hashing) -> None:
    hashing.may_go_on.set()
    answers = await asyncio.gather(*(log_in(house, WRONG) for _ in range(60)))

    assert Counter(status for status, _ in answers) == {401: 10, 429: 50}
    assert hashing.count == 10
    assert {problem["key"] for _, problem in answers} == {"bad_login", "too_many_logins"}


async def test_requests_and_health_do_not_wait_for_two_hundred_logins(house: House, hashing: Hashing) -> None:
    """No hash ends before the others have their answers: they cannot have waited for one."""
    task_id = await house.make_task()
    logins = [log_in(house, {"username": f"user{n}", "password": "wrong"}) for n in range(200)]
    await eventually(lambda: hashing.count == 2)

    others = [house.call("GET", "/healthz", None), house.call("GET", f"/v1/tasks/{task_id}"), house.submit("bob")]
    statuses = [status for status, _ in await asyncio.wait_for(asyncio.gather(*others), 20)]
    assert (statuses, hashing.count) == ([200, 200, 201], 2)
    hashing.may_go_on.set()
    answers = Counter(status for status, _ in await asyncio.gather(*logins))
    assert (answers[401], answers[503] + answers[429], hashing.threads) == (66, 134, {"passwords"})


async def test_a_login_beyond_the_queue_is_told_when_to_come_again_and_is_not_counted(
    house: House, hashing: Hashing
) -> None:
    logins = [log_in(house, {"username": f"user{n}", "password": "wrong"}) for n in range(66)]
    await eventually(lambda: house.services.users._hashing._unfinished == 66)
    for _ in range(30):
        async with house.client.post(routes.LOGIN, data=RIGHT) as answer:
            problem = await answer.json()
            assert (answer.status, problem["key"], answer.headers["Retry-After"]) == (503, "too_many_at_once", "5")
    hashing.may_go_on.set()
    await asyncio.gather(*logins)

    assert (await log_in(house, RIGHT))[0] == 200


def has_more_tries(house: House, count: int) -> bool:
    return house.services.users._limits._pairs.count("127.0.0.1 alice", Clock().boot_s()) > count


async def test_a_client_that_goes_away_does_not_get_its_guess_back(house: House, hashing: Hashing) -> None:
    for number in range(10):
        guess = log_in(house, WRONG)
        is_counted = partial(has_more_tries, house, number)
        await eventually(is_counted)
        guess.cancel()
        await asyncio.gather(guess, return_exceptions=True)
    hashing.may_go_on.set()

    assert (await log_in(house, WRONG))[0] == 429


async def test_a_right_password_passes_through_argon2(house: House) -> None:
    status, answer = await log_in(house, RIGHT)

    assert (status, answer["token_type"]) == (200, "bearer")
    assert not await asyncio.to_thread(is_password, None, "nobody has this password")


@pytest.mark.parametrize(
    "form",
    [
        {"username": "ü" * 128, "password": "ü" * 1024},
        {"username": "\U0001f600" * 128, "password": "x"},
        {"username": "a" * 129, "password": "x"},
        {"username": "alice", "password": "x" * 1025},
        {"username": "alice\x00", "password": "\x00"},
        {"username": "' or 1=1", "password": "\U0001f600" * 256},
    ],
)
async def test_strange_names_and_passwords_are_refused(house: House, hashing: Hashing, form: dict[str, str]) -> None:
    hashing.may_go_on.set()
    status, problem = await log_in(house, form)

    assert status in (401, 422), problem
    assert form["password"] not in str(problem) or len(form["password"]) == 1


@pytest.mark.parametrize("charset", ["utf-7", "unicode_escape", "utf-16", "raw_unicode_escape", "none-such", "rot13"])
async def test_a_form_of_any_charset_is_no_failure(house: House, hashing: Hashing, charset: str) -> None:
    hashing.may_go_on.set()
    headers = {"Content-Type": f"application/x-www-form-urlencoded; charset={charset}"}
    body = b"username=%5Cud800&password=%2B2AA-\\ud800"
    status, problem = await house.call("POST", routes.LOGIN, None, data=body, headers=headers)

    assert status in (401, 415, 422), problem


TOKENS = ["mltm_" + "x" * 8000, "\udcff\udcfe", "mltm_ü", "enrol_x"]


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("path", [routes.WHOAMI, routes.AGENT_COMMANDS])
async def test_a_strange_token_is_only_a_wrong_one(house: House, token: str, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", house.client.port)
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    writer.write(head.encode("utf-8", "surrogateescape"))
    await writer.drain()
    first = await reader.readline()
    writer.close()

    assert first.split()[1] in (b"401", b"400"), first


async def test_wrong_tokens_and_codes_are_limited_by_address_and_right_ones_pass(house: House) -> None:
    wrong = {"Authorization": "Bearer mltm_wrong"}
    code = {"code": "enrol_wrong", "host": "x", "unix_user": "x", "spool_id": "a" * 32}
    statuses = Counter[int]()
    for number in range(80):
        path = routes.WHOAMI if number % 2 else routes.AGENT_COMMANDS
        statuses[(await house.call("GET", path, None, headers=wrong))[0]] += 1
    status, problem = await house.call("POST", routes.AGENT_ENROL, None, json=code)

    assert statuses == {401: 60, 429: 20}
    assert (status, problem["key"]) == (429, "too_many_guesses")
    assert (await house.call("GET", routes.WHOAMI))[0] == 200
    assert (await house.call("GET", routes.WHOAMI, None))[0] == 401  # no token is no guess
    new = await house.make_code(None, house.agent.spool, cluster="elsewhere")
    status, _ = await house.call("POST", routes.AGENT_ENROL, None, json={**code, "code": new})
    assert status == 200


async def test_a_guess_that_asks_before_it_sends_its_body_counts_too(house: House) -> None:
    wrong = {"Authorization": "Bearer mltm_wrong"}
    asked = [
        await house.call("POST", routes.TASKS, None, headers=wrong, data=b"x" * 10, expect100=True) for _ in range(61)
    ]

    assert Counter(status for status, _ in asked) == {401: 60, 429: 1}


@pytest.mark.parametrize(("trusted", "statuses"), [(["127.0.0.1"], [429, 401, 429]), ([], [429, 429, 429])])
async def test_behind_a_trusted_proxy_each_client_has_limits_of_its_own(
    tmp_path: Path, hashing: Hashing, trusted: list[str], statuses: list[int]
) -> None:
    hashing.may_go_on.set()
    async with open_house(tmp_path, trusted_proxies=trusted) as house:

        async def guess(address: str) -> int:
            headers = {"X-Forwarded-For": address}
            return (await house.call("POST", routes.LOGIN, None, data=WRONG, headers=headers))[0]

        for _ in range(10):
            assert await guess("203.0.113.9") == 401
        found = [await guess(address) for address in ("203.0.113.9", "203.0.113.10", "10.1.1.1, 203.0.113.9")]

    assert found == statuses
