"""Measures how long another user waits while one agent sends its worst batches without pause.

    python -m bench.worst_batches [--seconds 20] [--senders 4]

Gateway, agent and user are processes of their own. The figures are printed; nothing is asserted.
"""

import argparse
import asyncio
import itertools
import json
import math
import multiprocessing
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp

from mltm.contract import routes
from mltm.contract.base_models import MAX_INT64
from tests.gateway.fixtures import ask_to_enrol, build_settings, prepare
from tests.gateway.process import serving

AT = "2026-11-29T12:00:00Z"
TEXT = "x" * 8_192
SPOOL_ID, KNOWN = "a" * 32, "f" * 32
Batches = Iterator[list[dict[str, object]]]


def build(spool_id: str, seq: int, task_id: str, **fields: object) -> dict[str, object]:
    """One report with the longest texts."""
    return {
        "spool_id": spool_id, "epoch": 1, "seq": seq, "task_id": task_id, "attempt": 1, "state": "running",
        "evidence": "claim", "at": AT, "message": TEXT, "node": TEXT[:1024], "slurm_state": TEXT[:1024],
        "job_id": "7_[1-9]%3", "note": {"kind": "attention", "message": TEXT}, **fields,
    }  # fmt: skip


def build_manifest(task_id: str, config: object) -> dict[str, object]:
    """A dropped task that the gateway does not know yet."""
    return {
        "task_id": task_id, "owner": "svc", "cluster": "atena02", "submitted_at": AT, "script_name": "s.py",
        "config": config, "files": [], "source": "drop",
    }  # fmt: skip


def list_kinds(spool_id: str, task_id: str) -> dict[str, Batches]:
    """Endless batches of each kind; a number is used once."""
    seqs, fresh = itertools.count(1), (f"{n:032x}" for n in itertools.count(1))
    tasks = [next(fresh) for _ in range(200)]
    deep: object = 1
    for _ in range(100):
        deep = {"x": deep}

    def of_one_task() -> Batches:
        while True:
            yield [build(spool_id, next(seqs), task_id) for _ in range(200)]

    def of_many_tasks() -> Batches:
        for attempt in itertools.count(1):
            manifests = [build_manifest(each, {"x": 1}) for each in tasks]
            yield [
                build(spool_id, next(seqs), each, attempt=attempt, manifest=manifest)
                for each, manifest in zip(tasks, manifests, strict=True)
            ]

    def of_large_configs() -> Batches:
        for config in itertools.cycle(({"x": [[]] * 60_000}, {"x": deep}, {"x": [1e15] * 120_000})):
            new = next(fresh)
            yield [build(spool_id, next(seqs), new, manifest=build_manifest(new, config))]

    def at_the_edge() -> Batches:
        while True:
            seq = next(seqs)
            yield [build(spool_id, MAX_INT64 - seq, task_id, epoch=MAX_INT64, attempt=MAX_INT64 - seq)] * 200

    kinds = (of_one_task, of_many_tasks, of_large_configs, at_the_edge)
    return {kind.__name__.replace("_", " "): kind() for kind in kinds}


async def send(url: str, headers: dict[str, str], batches: Batches, senders: int, seconds: float) -> Counter[int]:
    """Send without pause; how often each status came (0: no answer)."""
    told: Counter[int] = Counter()
    until_s = time.monotonic() + seconds

    async def go_on(session: aiohttp.ClientSession) -> None:
        while time.monotonic() < until_s:
            data = json.dumps({"reports": next(batches)}).encode()
            try:
                async with session.post(routes.AGENT_REPORTS, data=data, headers=headers) as answer:
                    await answer.read()
                    told[answer.status] += 1
            except (aiohttp.ClientError, TimeoutError):
                told[0] += 1

    async with aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=120)) as session:
        await asyncio.gather(*(go_on(session) for _ in range(senders)))
    return told


def attack(url: str, headers: dict[str, str], kind: str, senders: int, seconds: float, answers: Any) -> None:
    """The agent's process."""
    warnings.simplefilter("ignore", ResourceWarning)  # aiohttp's, about large bodies
    batches = list_kinds(SPOOL_ID, KNOWN)[kind]
    answers.put(asyncio.run(send(url, headers, batches, senders, seconds)))


async def measure(session: aiohttp.ClientSession, token: str, until_s: float) -> list[float]:
    """Seconds that each of another user's requests took."""
    taken: list[float] = []
    while time.monotonic() < until_s:
        for path in (routes.TASKS, routes.HEALTH):
            began_s = time.monotonic()
            async with session.get(path, headers={"Authorization": f"Bearer {token}"}) as answer:
                await answer.read()
            taken.append(time.monotonic() - began_s)
        await asyncio.sleep(0.01)
    return taken


def show(name: str, seconds: list[float], told: Counter[int]) -> None:
    """A line of the table."""
    ordered = sorted(seconds)
    p50, p99 = ordered[len(ordered) // 2], ordered[math.ceil(0.99 * len(ordered)) - 1]
    answers = ", ".join(f"{count} times {status}" for status, count in sorted(told.items()))
    print(
        f"| {name} | {p50 * 1000:.0f} ms | {p99 * 1000:.0f} ms | {ordered[-1] * 1000:.0f} ms | {answers} |", flush=True
    )


async def enrol(session: aiohttp.ClientSession, code: str, spool_id: str) -> dict[str, str]:
    """Become the agent; its headers."""
    client: Any = session  # the same calls
    status, body = await ask_to_enrol(client, code, spool_id)
    assert status == 200, body
    return {"Authorization": f"Bearer {body['credential']}", "Content-Type": "application/json"}


async def set_up(url: str, code: str) -> dict[str, str]:
    """Enrol the agent, and let it report one task; its headers."""
    async with aiohttp.ClientSession(url) as session:
        headers = await enrol(session, code, SPOOL_ID)
        first = json.dumps({"reports": [build(SPOOL_ID, 1, KNOWN, epoch=2, manifest=build_manifest(KNOWN, {}))]})
        async with session.post(routes.AGENT_REPORTS, data=first, headers=headers) as answer:
            assert (await answer.json())["outcomes"][0]["outcome"] == "taken"
    return headers


async def watch(url: str, token: str, seconds: float) -> list[float]:
    """Measure for so long."""
    async with aiohttp.ClientSession(url) as session:
        return await measure(session, token, time.monotonic() + seconds)


def run(url: str, tokens: dict[str, str], code: str, seconds: float, senders: int) -> None:
    """Measure alone, then beside each kind of batch."""
    headers = asyncio.run(set_up(url, code))
    print("| the agent sends | p50 | p99 | slowest | what it was answered |\n|---|---|---|---|---|")
    show("nothing", asyncio.run(watch(url, tokens["bob"], seconds / 4)), Counter())
    spawning = multiprocessing.get_context("spawn")
    for kind in list_kinds(SPOOL_ID, KNOWN):
        answers = spawning.Queue()
        agent = spawning.Process(target=attack, args=(url, headers, kind, senders, seconds + 2, answers))
        agent.start()
        taken = asyncio.run(watch(url, tokens["bob"], seconds + 2))
        told = answers.get(timeout=300)
        agent.join()
        show(kind, taken, told)


def main() -> None:
    """Start a gateway, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--senders", type=int, default=4, help="connections of the one agent")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        (folder / "spool").mkdir()
        tokens, code = prepare(build_settings(folder), folder / "spool")
        with serving("--data-dir", str(folder / "data"), "--port", "0") as server:
            run(server.url, tokens, code, options.seconds, options.senders)


if __name__ == "__main__":
    main()
