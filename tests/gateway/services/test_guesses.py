"""How many guesses a caller may make: before anything is looked at, bounded in memory, and nobody locks others out."""

import asyncio
import threading
from dataclasses import dataclass, field

import pytest

from gateway.errors import TooManyError, UnavailableError
from gateway.origin import build_address_key
from gateway.services.guesses import Guesses, LoginLimits, TryTable
from gateway.services.passwords import HashingPool, hash_secret
from mltm.runtime.clock import Clock
from tests.gateway.fixtures import eventually


@dataclass
class Time:
    """Seconds that the test moves, and the delays that somebody would have slept."""

    now_s: float = 1000.0
    slept: list[float] = field(default_factory=list)
    gate: asyncio.Event | None = None

    def clock(self) -> Clock:
        return Clock(boot_s=lambda: self.now_s)

    async def sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)
        if self.gate is not None:
            await self.gate.wait()


async def count_admitted(limits: LoginLimits, tries: list[tuple[str, str]]) -> int:
    admitted = 0
    for address, name in tries:
        try:
            await limits.admit(address, name)
        except TooManyError:
            continue
        admitted += 1
    return admitted


@pytest.mark.parametrize(
    ("tries", "admitted"),
    [
        ([("192.0.2.1", "ada")] * 60, 10),
        ([("192.0.2.1", f"user{n}") for n in range(300)], 100),
        ([(f"2001:db8::{n:x}", "ada") for n in range(1, 60)], 10),
        ([(f"2001:db8::{n:x}", f"user{n}") for n in range(1, 300)], 100),
    ],
    ids=["one name", "many names", "one name from one IPv6 network", "many names from one IPv6 network"],
)
async def test_an_address_gets_no_further_than_its_limits(tries: list[tuple[str, str]], admitted: int) -> None:
    time = Time()
    assert await count_admitted(LoginLimits(time.clock(), time.sleep), tries) == admitted


async def test_nobody_locks_a_user_out_from_another_address() -> None:
    time = Time()
    limits = LoginLimits(time.clock(), time.sleep)
    await count_admitted(limits, [("192.0.2.1", "ada")] * 500)

    assert await count_admitted(limits, [("192.0.2.1", "ada")]) == 0
    assert await count_admitted(limits, [("198.51.100.7", "ada"), ("192.0.2.1", "bob")]) == 2


async def test_tries_from_many_addresses_are_delayed_and_not_refused() -> None:
    time = Time()
    limits = LoginLimits(time.clock(), time.sleep)
    limits.note_right("198.51.100.7", "ada", await limits.admit("198.51.100.7", "ada"))
    assert await count_admitted(limits, [(f"203.0.113.{n}", "ada") for n in range(1, 200)]) == 199

    assert (len(time.slept), max(time.slept), time.slept[0]) == (199 - 20, 8.0, 1.0)
    time.slept.clear()
    assert await count_admitted(limits, [("198.51.100.7", "ada"), ("203.0.113.1", "bob")]) == 2
    assert time.slept == []  # where he logged in before, and for other names, nothing changes
    time.now_s += 3600
    assert await count_admitted(limits, [("198.51.100.8", "ada")]) == 1
    assert time.slept == []


async def test_only_some_tries_for_a_name_are_delayed_at_the_same_time() -> None:
    time = Time(gate=asyncio.Event())
    limits = LoginLimits(time.clock(), time.sleep)
    asked = [asyncio.ensure_future(limits.admit(f"203.0.113.{n}", "ada")) for n in range(1, 101)]
    await eventually(lambda: len([task for task in asked if task.done()]) == 20 + 64)
    refused = [task for task in asked if task.done() and task.exception() is not None]
    assert time.gate is not None
    time.gate.set()
    admitted = [result for result in await asyncio.gather(*asked, return_exceptions=True) if isinstance(result, float)]

    assert (len(refused), len(admitted)) == (64, 36)


async def test_a_try_that_was_not_even_delayed_does_not_count_and_all_names_together_are_bounded() -> None:
    time = Time(gate=asyncio.Event())
    limits = LoginLimits(time.clock(), time.sleep)
    asked = [
        asyncio.ensure_future(limits.admit(f"203.0.{name}.{n}", f"user{name}"))
        for name in range(20)
        for n in range(1, 41)
    ]
    await eventually(lambda: limits._delayed.total() == 256)
    for _ in range(30):
        with pytest.raises(TooManyError):
            await limits.admit("192.0.2.1", "user0")
    assert limits._pairs.count("192.0.2.1 user0", time.now_s) == limits._addresses.count("192.0.2.1", time.now_s) == 0
    assert time.gate is not None
    time.gate.set()
    await asyncio.gather(*asked, return_exceptions=True)
    assert not limits._delayed.total()


async def test_a_right_password_takes_its_try_back_and_no_other() -> None:
    time = Time()
    limits = LoginLimits(time.clock(), time.sleep)
    for _ in range(200):
        time.now_s += 0.001
        limits.note_right("192.0.2.1", "ada", await limits.admit("192.0.2.1", "ada"))
    assert await count_admitted(limits, [("192.0.2.1", "bob")] * 60) == 10
    assert await count_admitted(limits, [("192.0.2.1", f"user{n}") for n in range(200)]) == 90


async def test_the_tables_shrink_and_never_grow_beyond_their_bound() -> None:
    table = TryTable(max_tries=10, window_s=300.0, max_keys=50)
    for number in range(500):
        table.add(f"key{number}", float(number) / 1000)
        table.add("loud", float(number) / 1000)
    assert (len(table), table.count("loud", 0.5)) == (50, 10)

    table.add("late", 301.0)
    assert len(table) == 1


def test_a_key_waits_until_its_oldest_try_is_too_old() -> None:
    table = TryTable(max_tries=3, window_s=300.0)
    for at_s in (0.0, 100.0, 200.0, 210.0):
        table.add("key", at_s)

    assert (table.read_wait_s("key", 250.0), table.read_wait_s("key", 400.0)) == (150.0, 0.0)


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("", ""),
        ("x" * 500, "x" * 64),
    ],
)
def test_one_machines_addresses_are_one(address: str, key: str) -> None:
    assert build_address_key(address) == key


def test_wrong_secrets_are_limited_for_each_address() -> None:
    time = Time()
    guesses = Guesses(time.clock())
    for _ in range(60):
        guesses.add("192.0.2.1")
    for _ in range(40):
        with pytest.raises(TooManyError) as raised:
            guesses.add("192.0.2.1")
        assert raised.value.retry_after_s == 61
    guesses.add("192.0.2.2")
    time.now_s += 60
    guesses.add("192.0.2.1")


async def test_a_full_pool_refuses_and_is_free_again_afterwards() -> None:
    pool, may_go_on = HashingPool(), threading.Event()
    jobs = [asyncio.ensure_future(pool.run(may_go_on.wait, 10)) for _ in range(66)]
    await asyncio.sleep(0)
    with pytest.raises(UnavailableError) as raised:
        await pool.run(may_go_on.wait, 10)
    assert (raised.value.status, raised.value.retry_after_s) == (503, 5)
    jobs[-1].cancel()  # a client that goes away makes room at once
    await eventually(lambda: pool._unfinished == 65)
    may_go_on.set()
    assert await asyncio.gather(*jobs[:-1]) == [True] * 65
    await eventually(lambda: pool._unfinished == 0)
    await asyncio.to_thread(pool.close)


@pytest.mark.parametrize("secret", ["x" * 10_000_000, "\udcff\ud800", "ü" * 300, ""])
def test_any_text_is_hashed_like_a_secret_that_nobody_has(secret: str) -> None:
    assert len(hash_secret(secret)) == 64
    assert hash_secret("x" * 10_000_000) == hash_secret("x" * 257) != hash_secret("x" * 256)
