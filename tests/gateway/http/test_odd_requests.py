"""Requests that are odd as HTTP: media types, charsets, codings, multipart, methods, credentials."""

from collections.abc import Mapping
from typing import Any

import pytest

from gateway.http.endpoints.route_table import ROUTES
from mltm.contract import routes
from mltm.contract.problems import CONTENT_TYPE, Problem
from tests.gateway.fixtures import House

PROTECTING = ("X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Content-Security-Policy", "X-Request-Id")
FORM, JSON, PARTS = "application/x-www-form-urlencoded", "application/json", "multipart/form-data; boundary=b"
OPEN = (
    b'--b\r\nContent-Disposition: form-data; name="config"\r\n\r\n{}\r\n'
    b'--b\r\nContent-Disposition: form-data; name="files"; filename="s.py"\r\n'
)


async def ask(house: House, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> tuple[int, str]:
    """Status and key; whatever it is, the answer is a problem document with the protecting headers."""
    async with house.client.request(method, path, headers=headers, data=body) as answer:
        raw = await answer.read()
        assert [name for name in PROTECTING if name not in answer.headers] == []
        assert answer.headers["Server"] == "mltm-gateway"
        assert answer.content_type == CONTENT_TYPE, raw
        problem = Problem.model_validate_json(raw)
        assert (problem.status, problem.request_id) == (answer.status, answer.headers["X-Request-Id"])
        assert problem.next_step
        return answer.status, problem.key


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (routes.TOKENS, "text/plain"), (routes.TOKENS, ""), (routes.TOKENS, "application/"), (routes.TOKENS, FORM),
        (routes.TOKENS, "application/json; charset=utf-16"), (routes.TOKENS, "application/json; charset=none-such"),
        (routes.LOGIN, JSON), (routes.LOGIN, f"{FORM}; charset=utf-7"), (routes.LOGIN, "multipart/mixed; boundary=b"),
        (routes.TASKS, JSON), (routes.TASKS, FORM), (routes.TASKS, "multipart/form-data; boundary=b; charset=utf-16"),
    ],
)  # fmt: skip
async def test_another_media_type_is_415(house: House, path: str, kind: str) -> None:
    status, key = await ask(house, "POST", path, {**house.headers("alice"), "Content-Type": kind}, b'{"name": "x"}')

    assert status == 415, key


@pytest.mark.parametrize("path", [routes.TOKENS, routes.LOGIN, routes.TASKS])
@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "none-such"])
async def test_a_compressed_body_is_415(house: House, path: str, coding: str) -> None:
    kind = {routes.TOKENS: JSON, routes.LOGIN: FORM, routes.TASKS: PARTS}[path]
    headers = {**house.headers("alice"), "Content-Type": kind, "Content-Encoding": coding}

    assert await ask(house, "POST", path, headers, b"{}") == (415, "unsupported_coding")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"--", b"--b", b"--b--", b"--b\r\n", b"--b\r\n\r\n--b--\r\n", b"no boundary at all", b"\xff" * 100, OPEN,
        OPEN + b"\r\n",
        OPEN + b"Content-Length: 9999\r\n\r\nx\r\n--b--\r\n",
        OPEN + b"Content-Length: x\r\n\r\nx\r\n--b--\r\n",
        OPEN + b"Content-Transfer-Encoding: base64\r\n\r\nx\r\n--b--\r\n",
        OPEN + b"Content-Encoding: gzip\r\n\r\nx\r\n--b--\r\n",
        OPEN + b"Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n--b--\r\n",
        OPEN + b"X: " + b"y" * 20_000 + b"\r\n\r\nx\r\n--b--\r\n",
        OPEN + b"no colon\r\n\r\nx\r\n--b--\r\n",
        b'--b\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--b--\r\n',
        b"--b\r\nContent-Disposition: form-data; name*=none-such'en'x\r\n\r\nx\r\n--b--\r\n",
        b"--b\r\nContent-Disposition: attachment\r\n\r\nx\r\n--b--\r\n",
    ],
    ids=range(20),
)  # fmt: skip
@pytest.mark.parametrize("path", [routes.TASKS, routes.PREDECESSOR_NEW_TASK, routes.LOGIN])
async def test_odd_multipart_is_refused(house: House, path: str, body: bytes) -> None:
    status, _ = await ask(house, "POST", path, {**house.headers("alice"), "Content-Type": PARTS}, body)

    assert status in (400, 415, 422)
    assert house.left_behind() == []


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY")


@pytest.mark.parametrize("path", sorted({route.document_path for route in ROUTES}))
async def test_another_method_is_405_and_says_which_are_allowed(house: House, path: str) -> None:
    known = {route.method for route in ROUTES if route.document_path == path}
    allowed = known | ({"HEAD"} if "GET" in known else set())
    for method in sorted(set(METHODS) - allowed):
        async with house.client.request(method, path.replace("{", "").replace("}", "")) as answer:
            assert (answer.status, set(answer.headers["Allow"].split(","))) == (405, allowed), method
            assert answer.content_type == CONTENT_TYPE


@pytest.mark.parametrize(
    "value",
    ["", "Bearer", "Bearer ", "Basic YTpi", "bearer x y", "Bearer \u00e9", "Token x", "Bearer " + "x" * 8000],
)
@pytest.mark.parametrize(("method", "path"), [("GET", routes.TASKS), ("GET", routes.AGENT_COMMANDS), ("GET", "/users")])
async def test_an_odd_credential_is_401(house: House, method: str, path: str, value: Any) -> None:
    headers = {"Authorization": value}
    async with house.client.request(method, path, headers=headers) as answer:
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="mltm"'
