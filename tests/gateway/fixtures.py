"""A whole gateway on a real socket of 127.0.0.1: SQLite and files in tmp_path, users with tokens, one agent."""

import asyncio
import contextlib
import functools
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestClient
from yarl import URL

from gateway.app import open_database, open_services
from gateway.front.limits import Limits
from gateway.front.listener import open_front
from gateway.front.sockets import open_sockets
from gateway.http.application import build_app
from gateway.services.all_services import Services
from gateway.services.passwords import hash_password, hash_secret
from gateway.settings import GatewaySettings
from gateway.store import agents, users
from gateway.store.database import Database
from mltm.contract import routes
from mltm.contract.proofs import parse_key, prove_enrolment
from mltm.contract.spool_layout import Spool
from mltm.runtime.clock import Clock, read_utc_now
from tests.gateway.agent import Client, FakeAgent
from tests.gateway.build import CLUSTER, Part, build_form, good_parts

T = TypeVar("T")
PASSWORD = "correct horse"
USERS = {"alice": "user", "bob": "user", "root": "admin"}


def build_user_id(name: str) -> str:
    """The id that a user of this name has in the tests."""
    return name.encode().hex().rjust(32, "0")


USER_IDS = {name: build_user_id(name) for name in USERS}


@dataclass
class MovedTime:
    """This host's time, so far ahead."""

    ahead: timedelta = timedelta()

    def now(self) -> datetime:
        """What the gateway takes for now."""
        return read_utc_now() + self.ahead


@dataclass(frozen=True)
class House:
    """A running gateway, and the keys to it."""

    client: Client
    services: Services
    settings: GatewaySettings
    tokens: dict[str, str]
    agent: FakeAgent
    time: MovedTime

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return str(self.client.make_url("/")).rstrip("/")

    def headers(self, who: str | None) -> dict[str, str]:
        """The caller's header; None: nobody."""
        return {"Authorization": f"Bearer {self.tokens[who]}"} if who else {}

    async def call(self, method: str, path: str, who: str | None = "alice", **options: Any) -> tuple[int, Any]:
        """Status and JSON (else text) of a request."""
        headers = {**self.headers(who), **options.pop("headers", {})}
        async with self.client.request(method, path, headers=headers, **options) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if "json" in answer.content_type else text

    async def submit(
        self, who: str = "alice", parts: list[Part] | None = None, path: str = routes.TASKS, **headers: str
    ) -> tuple[int, Any]:
        """Hand in a task; status and answer."""
        body = build_form(good_parts() if parts is None else parts)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.call("POST", path, who, data=body, headers=named)

    async def make_task(self, who: str = "alice", **changes: Any) -> str:
        """Hand in a good task; its id."""
        status, task = await self.submit(who, good_parts(**changes))
        assert status == 201, task
        return str(task["task_id"])

    async def enrol_agent(self, owner: str | None = None, again: FakeAgent | None = None) -> FakeAgent:
        """Enrol one more agent on the cluster, or `again` the agent of a spool."""
        place = again.spool if again else self.settings.data_dir.parent / f"spool-{secrets.token_hex(4)}"
        place.mkdir(exist_ok=True)
        return await enrol(self.client, await self.make_code(owner, place), place, again=again)

    async def make_code(self, owner: str | None, spool: Path, cluster: str = CLUSTER) -> str:
        """Make a one-time code, as `mltm-gateway agent code` does."""
        clock = Clock()
        code, now = clock.new_secret("enrol_"), clock.now()
        new = agents.NewCode(hash_secret(code), cluster, owner, make_inbox(spool), now, now + timedelta(minutes=10))
        await self.in_database(agents.add_code, new)
        return code

    async def in_database(self, fn: Callable[..., T], *args: object) -> T:
        """Run a function behind a door of its own, as `mltm-gateway` does beside the running gateway."""

        def run() -> T:
            database = Database(self.settings.database_path)
            try:
                return database.call_now(fn, *args)
            finally:
                database.close()

        return await asyncio.to_thread(run)

    def left_behind(self) -> list[str]:
        """Everything that lies in staging and in the store of files."""
        folders = (self.settings.staging, self.settings.data_dir / "files")
        return [str(path) for folder in folders if folder.is_dir() for path in folder.iterdir()]


@functools.cache
def _hash() -> str:
    return hash_password(PASSWORD)  # slow on purpose: once is enough


def make_inbox(spool: Path) -> Path:
    """The inbox that an agent of this account makes in its spool."""
    inbox = Spool(spool).inbox.root
    inbox.mkdir(parents=True, exist_ok=True)
    return inbox


def prepare(
    settings: GatewaySettings, spool: Path, roles: Mapping[str, str] = MappingProxyType(USERS)
) -> tuple[dict[str, str], str]:
    """Make the database, the users with a token each, and a code for the agent of all users."""
    clock = Clock()
    tokens = {name: clock.new_secret("mltm_") for name in roles}
    code, now = clock.new_secret("enrol_"), clock.now()

    def fill() -> None:
        for name, role in roles.items():
            user_id = build_user_id(name)
            user = users.add_user(name, "admin" if role == "admin" else "user", _hash(), now, user_id=user_id)
            users.add_token(users.NewToken(clock.new_id(), user, "test", hash_secret(tokens[name]), now, None))
        ends_at = now + timedelta(minutes=10)
        agents.add_code(agents.NewCode(hash_secret(code), CLUSTER, None, make_inbox(spool), now, ends_at))

    database = open_database(settings)
    try:
        database.call_now(fill)
    finally:
        database.close()
    return tokens, code


class FrontServer(BaseTestServer):
    """What aiohttp's test client talks to: the gateway's own front instead of aiohttp's."""

    def __init__(self, app: web.Application, settings: GatewaySettings, limits: Limits) -> None:
        super().__init__(host="127.0.0.1")
        self._app, self._settings, self._limits = (
            app,
            settings.model_copy(update={"host": "127.0.0.1", "port": 0}),
            limits,
        )
        self._stack = contextlib.AsyncExitStack()

    async def _make_runner(self, **kwargs: Any) -> web.AppRunner:
        raise NotImplementedError

    async def start_server(self, loop: asyncio.AbstractEventLoop | None = None, **kwargs: Any) -> None:
        if self.runner is None:
            sockets = await open_sockets(self._settings)
            self.port = sockets[0].getsockname()[1]
            self._root = URL(f"http://127.0.0.1:{self.port}")
            self.runner = await self._stack.enter_async_context(open_front(self._app, sockets, self._limits))

    async def close(self) -> None:
        await self._stack.aclose()


@contextlib.asynccontextmanager
async def serve(
    settings: GatewaySettings, clock: Clock | None = None, limits: Limits | None = None
) -> AsyncIterator[tuple[Client, Services]]:
    """The gateway over what lies in its data folder; entering again is a restart."""
    async with open_services(settings, clock) as services:
        server = FrontServer(build_app(services, settings), settings, limits or Limits())
        client = cast("Client", TestClient(server))
        async with client:
            yield client, services


async def enrol(
    client: Client, code: str, spool: Path, *, unix_user: str = "svc", again: FakeAgent | None = None
) -> FakeAgent:
    """Trade the code for a credential at the real route. `again`: the spool has its id and its key from before."""
    spool_id, key = (again.spool_id, again.key) if again else (secrets.token_hex(16), None)
    status, body = await ask_to_enrol(client, code, spool_id, unix_user=unix_user, key=key)
    assert status == 200, body
    return FakeAgent(client, body["credential"], spool, spool_id, parse_key(body["spool_key"]))


async def ask_to_enrol(
    client: Client, code: str, spool_id: str, *, unix_user: str = "svc", key: bytes | None = None
) -> tuple[int, Any]:
    """Hand in a code; status and answer, whatever they are."""
    asked = {"code": code, "host": "login1", "unix_user": unix_user, "spool_id": spool_id}
    if key is not None:
        asked["proof"] = prove_enrolment(key, spool_id, code)
    async with client.post(routes.AGENT_ENROL, json=asked) as answer:
        return answer.status, await answer.json()


def build_settings(folder: Path, **changes: Any) -> GatewaySettings:
    """Small limits, no waiting."""
    known = {
        "data_dir": folder / "data", "max_script_bytes": 100_000, "max_file_bytes": 2_000_000, "max_files": 6,
        "legacy_wait_s": 0.0, "publish_interval_s": 0.05, "min_free_bytes": 0, "clusters": ["elsewhere"],
    }  # fmt: skip
    return GatewaySettings.model_validate({**known, **changes})


@contextlib.asynccontextmanager
async def open_house(
    folder: Path, *, unix_user: str = "svc", limits: Limits | None = None, **changes: Any
) -> AsyncIterator[House]:
    """A new gateway in a folder."""
    settings, spool = build_settings(folder, **changes), folder / "spool"
    spool.mkdir()
    tokens, code = await asyncio.to_thread(prepare, settings, spool)
    time = MovedTime()
    async with serve(settings, Clock(now=time.now), limits) as (client, services):
        yield House(client, services, settings, tokens, await enrol(client, code, spool, unix_user=unix_user), time)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
        yield opened


async def eventually(is_true: Callable[[], bool], deadline_s: float = 10.0) -> None:
    """Wait until it is so; fail after the deadline."""
    async with asyncio.timeout(deadline_s):
        while not is_true():  # noqa: ASYNC110 - files of another thread: there is no event to wait for
            await asyncio.sleep(0.005)
