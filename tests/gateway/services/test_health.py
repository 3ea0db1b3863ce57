"""/healthz and the watchdog answer whatever else is stuck, and /healthz shows paths to administrators only."""

import asyncio
import json
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from gateway.serve import serve
from gateway.settings import GatewaySettings
from gateway.store.database import Database
from mltm.contract import routes
from tests.gateway.certificates import Authority
from tests.gateway.fixtures import House, eventually


@contextmanager
def full_pool() -> Iterator[None]:
    """The loop's default pool has one thread, and that one waits."""
    may_go_on, pool = threading.Event(), ThreadPoolExecutor(1)
    asyncio.get_running_loop().set_default_executor(pool)
    pool.submit(may_go_on.wait)
    try:
        yield
    finally:
        may_go_on.set()


@asynccontextmanager
async def stuck_database(database: Database) -> AsyncIterator[None]:
    """A read that takes for ever, in the database's only thread."""
    may_go_on, is_reached = threading.Event(), threading.Event()

    def wait() -> None:
        is_reached.set()
        may_go_on.wait()

    reading = asyncio.create_task(database.read(wait))
    await eventually(is_reached.is_set)
    try:
        yield
    finally:
        may_go_on.set()
        await reading


async def test_health_is_told_while_the_pool_is_full(house: House) -> None:
    with full_pool():
        status, health = await house.call("GET", routes.HEALTH, None)

    assert (status, health["status"]) == (200, "ok")


async def test_health_is_told_while_the_database_is_stuck(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stuck_database(house.services.health._database):
        for who in (None, "root"):
            async with asyncio.timeout(10):
                status, health = await house.call("GET", routes.HEALTH, who)
            assert (status, health["status"]) == (200, "ok")

        monkeypatch.setattr("gateway.services.health._STUCK_S", 0.0)
        status, health = await house.call("GET", routes.HEALTH, None)
        assert (status, health["status"], health["checks"]["database"] == "ok") == (503, "failing", False)

    async with asyncio.timeout(10):
        while (await house.call("GET", routes.HEALTH, None))[0] != 200:
            pass


async def test_only_administrators_see_the_path_of_a_spool(house: House) -> None:
    spool = house.agent.spool
    shutil.rmtree(spool)
    spool.write_text("")
    await house.make_task()
    await eventually(lambda: bool(house.services.health._publisher.problem))

    seen = {}
    for who in (None, "alice", "root"):
        status, health = await house.call("GET", routes.HEALTH, who)
        assert (status, health["status"], health["checks"]["spools"] == "ok") == (200, "degraded", False)
        seen[who] = str(spool) in json.dumps(health)
    _, health = await house.call("GET", routes.HEALTH, None, headers={"Authorization": "Bearer nonsense"})

    assert seen == {None: False, "alice": False, "root": True}
    assert str(spool) not in json.dumps(health)


class Systemd:
    """What systemd hears; in place of a Notifier, whose socket blocks."""

    every_s = 0.01

    def __init__(self, *_: object) -> None:
        self.heard: list[str] = []

    def ready(self) -> None:
        self.heard.append("ready")

    def alive(self, status: str) -> None:
        del status
        self.heard.append("alive")

    def stopping(self) -> None:
        self.heard.append("stopping")

    def close(self) -> None:
        pass


async def test_the_watchdog_hears_of_us_while_the_pool_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Authority(tmp_path / "ca").issue("gateway")
    settings = GatewaySettings(data_dir=tmp_path / "data", port=0, tls_cert=pair.cert, tls_key=pair.key)
    systemd = Systemd()
    monkeypatch.setattr("gateway.serve.Notifier", lambda _: systemd)
    monkeypatch.setattr("gateway.serve._REFRESH_S", 0.01)
    serving = asyncio.create_task(serve(settings, {}))
    await eventually(lambda: "ready" in systemd.heard or serving.done(), 30)

    with full_pool():
        before = systemd.heard.count("alive")
        await eventually(lambda: systemd.heard.count("alive") > before + 5 or serving.done())
        assert not serving.done()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert "stopping" not in systemd.heard
