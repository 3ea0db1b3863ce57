"""Junk in every place of every route: no status that the OpenAPI document does not name, and it names no 500."""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPMethod
from typing import Any
from urllib.parse import quote

import pytest

from gateway.http.endpoints import outputs
from gateway.http.endpoints.route_table import ROUTES
from gateway.http.route import Route
from mltm.contract import routes
from mltm.contract.problems import Problem
from tests.gateway.agent import START
from tests.gateway.build import build_form, config, part
from tests.gateway.fixtures import House

JUNK: tuple[Any, ...] = (
    None, True, -1, 0, 2**63, 2**64, 10**400, 1.5, 1e308, float("nan"), "", " ", "x", "ü\U0001f600", "\x00",
    "a\r\nb: c", "\ud800", "x" * 70_000,
    "../../etc/passwd", "%2e%2e", "' or 1=1", "-1", "9" * 30, "NaN", [], {}, [[]], {"": None},
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "f" * 32,
)  # fmt: skip


@dataclass(frozen=True)
class Ask:
    """One request."""

    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)


def read_examples(house: House, task_id: str) -> dict[str, Any]:
    """A good body of each route that takes one."""
    report = house.agent.build(task_id, "running", job_id="7", node="n", exit_code=0, started_at=START.isoformat())
    manifest = {
        "task_id": "e" * 32, "owner": "bob", "cluster": "atena02", "submitted_at": START.isoformat(), "source": "drop",
        "script_name": "s.py", "config": config(), "files": [{"name": "s.py", "size": 1, "sha256": "a" * 64}],
    }  # fmt: skip
    drop = {**house.agent.build("e" * 32, "accepted"), "manifest": manifest, "note": {"kind": "held", "message": "w"}}
    file = {"path": "p", "size": 1, "modified_at": START.isoformat()}
    beat = {"version": "1", "host": "h", "pid": 1, "epoch": 1, "at": START.isoformat(), "active_tasks": 0, "outbox": 0}
    return {
        routes.AGENT_REPORTS: {"reports": [report, drop]},
        routes.AGENT_HEARTBEAT: {**beat, "slurm_calls": {"squeue": 1}, "problems": ["p"]},
        routes.AGENT_ACK: {"outcome": "done", "message": "w", "outputs": [file]},
        routes.AGENT_ENROL: {"code": "enrol_x", "host": "h", "unix_user": "u", "spool_id": "a" * 32, "version": "1"},
        routes.TOKENS: {"name": "ci"},
        routes.PASSWORD: {"current_password": "no", "new_password": "five grey herons"},
        routes.LOGIN: {"username": "alice", "password": "no"},
        routes.TASKS: config(env={"A": "b"}, resources={"gpus": 1}, rerun_on=["node_fail"]),
        routes.PREDECESSOR_NEW_TASK: config(),
    }  # fmt: skip


def spoil(value: Any) -> Iterator[Any]:
    """Copies of a JSON value with one junk in one place each, and with one place missing or one more."""
    yield from JUNK
    if isinstance(value, dict):
        for name, inner in value.items():
            yield {known: kept for known, kept in value.items() if known != name}
            for spoilt in spoil(inner):
                yield {**value, name: spoilt}
        for name in ("", "nonesuch", "\ud800", "x" * 5000):
            yield {**value, name: 1}
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            for spoilt in spoil(inner):
                yield [*value[:place], spoilt, *value[place + 1 :]]


def build_bodies(route: Route, example: Any) -> Iterator[dict[str, Any]]:
    source = route.find("body", "form", "upload", "raw")
    if source is None:
        yield {}
        return
    for spoilt in spoil(example) if example is not None else ():
        match source.source:
            case "body":
                yield {"data": json.dumps(spoilt), "headers": {"Content-Type": "application/json"}}
            case "upload":
                yield {"data": build_form([part("c.json", json.dumps(spoilt)), part("script.py", b"x")])}
            case _:
                fields = spoilt if isinstance(spoilt, dict) else {}
                texts = {name: value for name, value in fields.items() if is_text(name) and is_text(value)}
                yield {"data": texts}
    for raw in (b"", b"{", b"\xff\xfe", b"null", b'{"a":' * 5000):
        for kind in ("application/json", "multipart/form-data; boundary=b", "application/x-www-form-urlencoded", "x"):
            yield {"data": raw, "headers": {"Content-Type": kind}}


def is_text(value: object) -> bool:
    return isinstance(value, str) and "\ud800" not in value


def build_asks(route: Route, ids: dict[str, str], example: Any) -> Iterator[Ask]:
    """Every place of a route with every junk, the others good."""
    texts = [value for value in JUNK if is_text(value)]
    good = route.document_path.format(**ids)
    for name in [parameter.name for parameter in route.parameters if parameter.source == "path"]:
        for text in texts[1:]:
            if len(text) < 5000:
                yield Ask(route.document_path.format(**{**ids, name: quote(text, safe="")}))
    query, headers = route.find("query"), route.find("headers")
    for name in [*(query.annotation.model_fields if query else ()), "nonesuch"]:
        for text in texts:
            yield Ask(good, query=((name, text[:5000]),))
    known = {"X-Mltm-Offset": "0", "X-Mltm-Size": "4", "X-Mltm-Final": "true"} if headers else {}
    for name in [*known, "Range", "Idempotency-Key", "Content-Type", "If-None-Match"]:
        for text in ("", "x", "-1", str(2**63), "9" * 30, "bytes=5-1", "bytes=-0", "bytes=0-", "ü", "1e3", "NaN"):
            yield Ask(good, headers={**known, name: text}, body={"data": b"1234"} if route.find("raw") else {})
    for body in build_bodies(route, example):
        yield Ask(good, body=body)


async def send(house: House, route: Route, ask: Ask) -> tuple[int, str, bytes]:
    who = house.agent.headers if route.find("agent") else house.headers("root")
    body = dict(ask.body)
    headers = {**who, **body.pop("headers", {}), **ask.headers}
    url = house.client.make_url("/").with_path(ask.path, encoded=True).with_query(list(ask.query))
    async with house.client.session.request(
        route.method, url, headers=headers, allow_redirects=False, **body
    ) as answer:
        return answer.status, answer.content_type, await answer.read()


def check(ask: Ask, document: dict[str, Any], answer: tuple[int, str, bytes]) -> str:
    """What is wrong with an answer; empty where nothing is."""
    status, kind, body = answer
    if str(status) not in document["responses"]:
        return f"{ask}: {status} is not in the document: {body[:300]!r}"
    if status >= 400:
        problem = Problem.model_validate_json(body)
        is_said = kind == "application/problem+json" and problem.status == status and problem.key and problem.next_step
        return "" if is_said else f"{ask}: {body[:300]!r} is no problem document"
    return ""


@pytest.mark.long
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.document_path}")
async def test_junk_gets_an_answer_that_the_document_names(
    house: House, monkeypatch: pytest.MonkeyPatch, route: Route
) -> None:
    async def wait_not(*_: object) -> bool:
        return False

    monkeypatch.setattr("gateway.services.agents.wait_for_event", wait_not)
    monkeypatch.setattr("gateway.services.users.is_password", lambda *_: False)
    monkeypatch.setattr(outputs, "AGENT_WAIT_S", 0.0)
    task_id = await house.make_task("root")
    await house.call("GET", f"/v1/tasks/{task_id}/log", "root")
    (command,) = await house.agent.poll(wait=0)
    names = ("job_id", "token_id", "username", "path", "file_name")
    ids = {**dict.fromkeys(names, "x"), "task_id": task_id, "command_id": command["command_id"]}
    _, document = await house.call("GET", routes.OPENAPI, None)
    told = document["paths"][route.document_path][HTTPMethod(route.method).lower()]
    example = copy.deepcopy(read_examples(house, task_id).get(route.path))

    wrong = [
        message
        for ask in build_asks(route, ids, example)
        if (message := check(ask, told, await send(house, route, ask)))
    ]

    assert wrong == []
