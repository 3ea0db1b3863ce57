"""A gateway of a few lines on a loopback socket, in a thread: it plays what a test hands it and keeps what it saw."""

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from aiohttp import BodyPartReader, web

from mltm.contract import routes
from mltm.contract.base_models import JsonObject
from mltm.contract.problems import CONTENT_TYPE, FieldProblem, Problem
from mltm.contract.states import State, is_final

__all__ = ["MOMENT", "TASK_ID", "TOKEN", "FakeGateway", "Fault", "Handler", "Log", "Seen", "build_task", "run_gateway"]

TASK_ID = "0197a1b2c3d47e5f8a9b0c1d2e3f4a5b"
TOKEN = "test-token"
MOMENT = "2026-11-24T01:00:00Z"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Seen:
    """A request as it came; `parts` are (field, file name, bytes) of a multipart body."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    parts: list[tuple[str, str, bytes]]


@dataclass(frozen=True)
class Fault:
    """What one request gets instead of its answer. The work is done all the same: only the answer suffers."""

    method: str
    path: str
    kind: Literal["answer", "break", "half"] = "answer"
    status: int = 503
    detail: str = "The gateway is starting."
    next_step: str = ""
    fields: tuple[FieldProblem, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Log:
    """Pieces (offset, bytes) of one attempt's log; what lies between two pieces was dropped."""

    pieces: tuple[tuple[int, bytes], ...] = ((0, b""),)
    final: bool = True

    @property
    def size(self) -> int:
        """Where the last piece ends."""
        offset, data = self.pieces[-1]
        return offset + len(data)

    def read(self, offset: int, length: int) -> tuple[int, bytes]:
        """From `offset` on, or from where there is something again."""
        wanted = max(0, self.size + offset) if offset < 0 else offset
        for begin, data in self.pieces:
            if begin + len(data) > wanted:
                at = max(begin, wanted)
                return at, data[at - begin : at - begin + length]
        return min(wanted, self.size), b""


def build_task(state: State, task_id: str = TASK_ID, **more: object) -> JsonObject:
    """A task as the gateway shows it."""
    fields: dict[str, object] = {
        "task_id": task_id, "id": task_id, "state": state.value, "final": is_final(state), "owner": "ada",
        "cluster": "atena02", "runner_location": "atena02", "submitted_at": MOMENT, "updated_at": MOMENT,
        "script_path": "train.py",
        "attempts": [{"attempt": 1, "state": state.value, "job_id": "41", "node": "n1"}],
    }  # fmt: skip
    return fields | more  # type: ignore[return-value]  # tests put JSON in


@dataclass
class FakeGateway:
    """Set the fields before the request; `looks` are a task's successive answers, the last of which stays."""

    url: str = ""
    looks: dict[str, list[JsonObject]] = field(default_factory=dict)
    logs: dict[int, list[Log]] = field(default_factory=dict)  #: by attempt; successive, the last stays
    outputs: dict[str, bytes] = field(default_factory=dict)
    plays: list[Handler] = field(default_factory=list)  #: answers to the next downloads, one each; the last one stays
    faults: list[Fault] = field(default_factory=list)
    connect_status: int = 405  #: the answer to CONNECT, which is sent to proxies
    seen: list[Seen] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)  #: idempotency key → task id

    def asked(self, method: str, path: str) -> list[Seen]:
        """The requests of that kind."""
        return [one for one in self.seen if (one.method, one.path) == (method, path)]

    def build_app(self) -> web.Application:
        """The routes that a user's client calls."""
        app = web.Application(middlewares=[self._record_and_spoil], client_max_size=16 * 1024 * 1024)
        app.router.add_post(routes.LOGIN, self._login)
        app.router.add_get(routes.WHOAMI, self._whoami)
        app.router.add_put(routes.PASSWORD, self._change_password)
        app.router.add_post(routes.TOKENS, self._create_token)
        app.router.add_delete(routes.TOKEN, self._revoke_token)
        app.router.add_post(routes.TASKS, self._submit)
        app.router.add_get(routes.TASKS, self._list)
        app.router.add_get(routes.TASK, self._task)
        app.router.add_post(routes.TASK_CANCEL, self._cancel)
        app.router.add_post(routes.TASK_HOLD, self._hold)
        app.router.add_post(routes.TASK_RELEASE, self._hold)
        app.router.add_get(routes.TASK_LOG, self._log)
        app.router.add_get(routes.TASK_OUTPUTS, self._outputs)
        app.router.add_get(routes.TASK_OUTPUT, self._output)
        return app

    @web.middleware
    async def _record_and_spoil(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == "CONNECT":
            return web.Response(status=self.connect_status)
        parts = await _read_parts(request)
        seen = Seen(request.method, request.path, dict(request.query), dict(request.headers), parts)
        self.seen.append(seen)
        fault = next((one for one in self.faults if (one.method, one.path) == (seen.method, seen.path)), None)
        if request.path != routes.LOGIN and request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _refuse(401, "unauthorized", "The token is missing or not valid.")
        good = await handler(request)
        if fault is None:
            return good
        self.faults.remove(fault)
        return await _spoil(fault, request, good)

    async def _login(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("password") != "right" or form.get("grant_type") != "password":
            return _refuse(401, "wrong_login", "User name or password is wrong.")
        return web.json_response({"access_token": TOKEN, "token_type": "bearer", "expires_in": 3600})

    async def _change_password(self, request: web.Request) -> web.Response:
        if (await request.json())["current_password"] != "right":
            return _refuse(403, "wrong_password", "The current password is wrong.")
        return web.Response(status=204)

    async def _whoami(self, _: web.Request) -> web.Response:
        return web.json_response({"username": "ada", "role": "user", "clusters": ["atena02"]})

    async def _create_token(self, _: web.Request) -> web.Response:
        return web.json_response({"token_id": "t1", "name": "laptop", "token": "shown-once", "created_at": MOMENT})

    async def _revoke_token(self, _: web.Request) -> web.Response:
        return web.Response(status=204)

    async def _submit(self, request: web.Request) -> web.Response:
        key = request.headers["Idempotency-Key"]
        task_id = self.keys.setdefault(key, TASK_ID[:-1] + f"{len(self.keys):x}")
        looks = self.looks.setdefault(task_id, self.looks.pop(TASK_ID, [build_task(State.ACCEPTED)]))
        self.looks[task_id] = [look | {"task_id": task_id, "id": task_id} for look in looks]
        return web.json_response(build_task(State.ACCEPTED, task_id, attempts=[]), status=201)

    async def _list(self, request: web.Request) -> web.Response:
        tasks = [looks[-1] for looks in self.looks.values()]
        begin, limit = int(request.query.get("before", "0")), int(request.query["limit"])
        end = begin + limit
        return web.json_response({"tasks": tasks[begin:end], "next": str(end) if end < len(tasks) else None})

    async def _task(self, request: web.Request) -> web.Response:
        looks = self.looks.get(request.match_info["task_id"])
        if looks is None:
            return _refuse(404, "task_not_found", "There is no such task.")
        return web.json_response(looks.pop(0) if len(looks) > 1 else looks[0])

    async def _cancel(self, request: web.Request) -> web.Response:
        task_id = request.match_info["task_id"]
        return web.json_response({"task_id": task_id, "state": "running", "cancel_requested": True})

    async def _hold(self, request: web.Request) -> web.Response:
        wish = request.path.rpartition("/")[2] == "hold"
        task_id = request.match_info["task_id"]
        return web.json_response({"task_id": task_id, "state": "accepted", "hold_requested": wish})

    async def _log(self, request: web.Request) -> web.Response:
        logs = self.logs.get(int(request.query.get("attempt", max(self.logs, default=1))), [Log()])
        log = logs.pop(0) if len(logs) > 1 else logs[0]
        offset, data = log.read(int(request.query["offset"]), int(request.query["length"]))
        headers = {"X-Mltm-Offset": str(offset), "X-Mltm-Size": str(log.size), "X-Mltm-Final": str(log.final).lower()}
        return web.Response(body=data, headers=headers)

    async def _outputs(self, request: web.Request) -> web.Response:
        files = [{"path": path, "size": len(data), "modified_at": MOMENT} for path, data in self.outputs.items()]
        return web.json_response({"task_id": request.match_info["task_id"], "files": files})

    async def _output(self, request: web.Request) -> web.StreamResponse:
        if self.plays:
            return await (self.plays.pop(0) if len(self.plays) > 1 else self.plays[0])(request)
        data = self.outputs.get(request.match_info["path"])
        return _refuse(404, "output_not_found", "No such output.") if data is None else web.Response(body=data)


@contextmanager
def run_gateway(tls: ssl.SSLContext | None = None) -> Iterator[FakeGateway]:
    """Serve a fake gateway on a free port of the loopback for the length of the block."""
    gateway, ready, loop = FakeGateway(), threading.Event(), asyncio.new_event_loop()
    end = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(_serve(gateway, tls, ready, end),))
    thread.start()
    try:
        assert ready.wait(timeout=10)
        yield gateway
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(timeout=10)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _serve(gateway: FakeGateway, tls: ssl.SSLContext | None, ready: threading.Event, end: asyncio.Event) -> None:
    runner = web.AppRunner(gateway.build_app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    gateway.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    ready.set()
    await end.wait()
    await runner.cleanup()


async def _read_parts(request: web.Request) -> list[tuple[str, str, bytes]]:
    if not request.content_type.startswith("multipart/"):
        return []
    parts = []
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        parts.append((part.name or "", part.filename or "", bytes(await part.read())))
    return parts


async def _spoil(fault: Fault, request: web.Request, good: web.StreamResponse) -> web.StreamResponse:
    assert request.transport is not None
    if fault.kind == "answer":
        return _refuse(fault.status, "fault", fault.detail, fault)
    if fault.kind == "half":
        assert isinstance(good, web.Response)
        assert isinstance(good.body, bytes)
        half = web.StreamResponse(headers={"Content-Length": str(len(good.body))})
        await half.prepare(request)
        await half.write(good.body[: len(good.body) // 2])
    request.transport.close()
    return good


def _refuse(status: int, key: str, detail: str, fault: Fault | None = None) -> web.Response:
    problem = Problem(
        title=key, status=status, detail=detail, key=key, next_step=fault.next_step if fault else "",
        fields=list(fault.fields) if fault else [],
    )  # fmt: skip
    headers = dict(fault.headers) if fault else {}
    return web.Response(status=status, text=problem.model_dump_json(), content_type=CONTENT_TYPE, headers=headers)
