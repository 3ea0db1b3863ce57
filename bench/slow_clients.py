"""Measures how long real users wait beside clients that keep connections busy for nothing, and floods of logins.

    python -m bench.slow_clients [--seconds 40] [--slow 1000] [--logins 200] [--users 50]

Gateway, attackers and users are processes of their own. A user makes a request a second: he submits, lists, looks at a
task. One more asks for /healthz ten times a second. The figures are printed; nothing is asserted.
"""

import argparse
import asyncio
import contextlib
import itertools
import math
import multiprocessing
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from mltm.contract import routes
from tests.gateway.build import build_form, good_parts
from tests.gateway.fixtures import ask_to_enrol, build_settings, prepare
from tests.gateway.process import serving

_BODY = (
    b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9999"
)
#: What a slow client sends at once, and then each second: for ever nothing, a header, or a body without an end.
SLOW = ((b"", b""), (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"x"), (_BODY, b"x"))
ADDRESSES = 20  #: of the slow ones, so that each stays below what one address may have
Times = dict[str, list[float]]
Headers = dict[str, str]


async def be_slow(host: str, port: int, number: int) -> None:
    """Hold a connection for as long as the gateway lets it, then come again."""
    beginning, more = SLOW[number % len(SLOW)]
    while True:
        with contextlib.suppress(OSError):
            address = (f"127.3.0.{number % ADDRESSES + 1}", 0)
            reader, writer = await asyncio.open_connection(host, port, local_addr=address)
            writer.write(beginning)
            while not reader.at_eof() and not writer.is_closing():
                writer.write(more)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1000), 1)
            writer.close()
        await asyncio.sleep(0.1)


async def flood(url: str, count: int, told: Counter[int]) -> None:
    """So many logins at once; when the last has its answer, the next flood begins: of other names and addresses."""
    for number in itertools.count():
        async with contextlib.AsyncExitStack() as stack:
            addresses = [f"127.4.{number % 250}.{each % 50 + 1}" for each in range(count)]
            sessions = [await stack.enter_async_context(open_session(url, address)) for address in addresses]
            names = (f"nobody{number}-{index}" for index in range(count))
            await asyncio.gather(*(log_in(*each, told) for each in zip(sessions, names, strict=True)))


async def log_in(session: aiohttp.ClientSession, name: str, told: Counter[int]) -> None:
    """One login; counts its status, 0 if there was no answer."""
    try:
        async with session.post(routes.LOGIN, data={"username": name, "password": "x" * 12}) as answer:
            await answer.read()
            told[answer.status] += 1
    except (aiohttp.ClientError, TimeoutError, OSError):
        told[0] += 1


def open_session(url: str, address: str) -> aiohttp.ClientSession:
    """A client at an address of its own: all of 127.0.0.0/8 is this machine."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    return aiohttp.ClientSession(url, connector=connector, timeout=aiohttp.ClientTimeout(total=120))


async def attack(url: str, slow: int, logins: int, told: Counter[int]) -> None:
    """All attackers, until they are cancelled."""
    parts = urlsplit(url)
    tasks = [be_slow(str(parts.hostname), parts.port or 0, number) for number in range(slow)]
    await asyncio.gather(*tasks, *([flood(url, logins, told)] if logins else []))


def run_attack(url: str, slow: int, logins: int, seconds: float, answers: Any) -> None:
    """The attackers' process."""
    told: Counter[int] = Counter()
    with contextlib.suppress(TimeoutError):
        asyncio.run(asyncio.wait_for(attack(url, slow, logins, told), seconds))
    answers.put(told)


async def use(url: str, number: int, token: str, until_s: float, times: Times) -> None:
    """One real user."""
    choose = random.Random(number)
    headers = {"Authorization": f"Bearer {token}"}
    async with open_session(url, f"127.5.0.{number + 1}") as session:
        task = ""
        for step in itertools.count():
            await asyncio.sleep(choose.uniform(0.5, 1.5))
            if time.monotonic() > until_s:
                return
            began_s = time.monotonic()
            if step % 3 == 0:
                task = str((await ask(session, "POST", routes.TASKS, headers, build_form(good_parts())))["task_id"])
            else:
                await ask(session, "GET", routes.TASKS if step % 3 == 1 else f"{routes.TASKS}/{task}", headers)
            times["a user"].append(time.monotonic() - began_s)


async def ask(session: aiohttp.ClientSession, method: str, path: str, headers: Headers, data: Any = None) -> Any:
    """Ask as often as it takes, as the client of the project does. Its answer."""
    while True:
        async with session.request(method, path, headers=headers, data=data) as answer:
            if answer.status < 300:
                return await answer.json()
            assert answer.status in (429, 503), await answer.text()
        await asyncio.sleep(float(answer.headers["Retry-After"]))


async def enrol(url: str, code: str) -> None:
    """The agent whose cluster takes the tasks."""
    async with open_session(url, "127.0.0.1") as session:
        client: Any = session  # the same calls
        status, body = await ask_to_enrol(client, code, "a" * 32)
        assert status == 200, body


async def watch_health(url: str, until_s: float, times: Times) -> None:
    """The operator's monitor."""
    async with open_session(url, "127.6.0.1") as session:
        while time.monotonic() < until_s:
            began_s = time.monotonic()
            async with session.get(routes.HEALTH) as answer:
                await answer.read()
            times["/healthz"].append(time.monotonic() - began_s)
            await asyncio.sleep(0.1)


async def work(url: str, tokens: Sequence[str], seconds: float) -> Times:
    """All real users, for so long."""
    times: Times = {"a user": [], "/healthz": []}
    until_s = time.monotonic() + seconds
    each = (use(url, number, token, until_s, times) for number, token in enumerate(tokens))
    await asyncio.gather(watch_health(url, until_s, times), *each)
    return times


def show(name: str, times: Times, pid: int) -> None:
    """A line of the table for each kind of request."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    peak = next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    for what, seconds in times.items():
        ordered = sorted(seconds)
        p50, p99 = ordered[len(ordered) // 2], ordered[math.ceil(0.99 * len(ordered)) - 1]
        cells = (f"{len(ordered)}", *(f"{each * 1000:.0f} ms" for each in (p50, p99, ordered[-1])), f"{peak} MiB")
        print(f"| {name} | {what} | {' | '.join(cells)} |", flush=True)


def measure(url: str, pid: int, tokens: Sequence[str], options: argparse.Namespace) -> None:
    """Measure alone, then beside each attack."""
    print("| beside | request of | count | p50 | p99 | slowest | peak memory |\n|---|---|---|---|---|---|---|")
    show("nothing", asyncio.run(work(url, tokens, options.seconds / 4)), pid)
    spawning = multiprocessing.get_context("spawn")
    for slow, logins in ((options.slow, 0), (0, options.logins), (options.slow, options.logins)):
        answers = spawning.Queue()
        attackers = spawning.Process(target=run_attack, args=(url, slow, logins, options.seconds + 3, answers))
        attackers.start()
        time.sleep(3)  # they have come
        times = asyncio.run(work(url, tokens, options.seconds))
        told = answers.get(timeout=300)
        attackers.join()
        statuses = ", ".join(f"{count} times {status}" for status, count in sorted(told.items()))
        show(f"{slow} slow clients, {logins} logins at once ({statuses or 'none'})", times, pid)


def main() -> None:
    """Start a gateway, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--slow", type=int, default=1000)
    parser.add_argument("--logins", type=int, default=200)
    parser.add_argument("--users", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        (folder / "spool").mkdir()
        roles = {f"user{number}": "user" for number in range(options.users)}
        tokens, code = prepare(build_settings(folder), folder / "spool", roles)
        with serving("--data-dir", str(folder / "data"), "--port", "0") as server:
            threading.Thread(target=server.read_rest, daemon=True).start()  # a full pipe would stop it
            asyncio.run(enrol(server.url, code))
            measure(server.url, server.process.pid, list(tokens.values()), options)


if __name__ == "__main__":
    main()
