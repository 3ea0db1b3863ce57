"""What every answer tells a browser, whatever it answers: each address of the route table, errors, other methods."""

import json
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
import pytest_asyncio
from multidict import CIMultiDictProxy

from gateway.front.refusals import HEADER_TOO_LARGE, render_response
from gateway.http.endpoints.route_table import ROUTES
from gateway.http.response_headers import build_headers
from mltm.contract import routes
from tests.gateway.fixtures import House, open_house

pytestmark = pytest.mark.asyncio(loop_scope="module")
_FILE = "swagger-ui.css"
_KINDS = ("application/json", "application/problem+json", "text/html; charset=utf-8", "text/css; charset=utf-8")
_DOCS = (routes.DOCS, f"{routes.DOCS}/{_FILE}")


class Request(NamedTuple):
    """A request, and who sends it."""

    method: str
    path: str
    who: str | None


def fill(path: str) -> str:
    """An address with something in every place."""
    names = ("task_id", "job_id", "command_id", "token_id", "username")
    return path.format(**dict.fromkeys(names, "0" * 32), path="x", file_name=_FILE)


REQUESTS = [
    *(Request(route.method, fill(route.document_path), who) for route in ROUTES for who in (None, "root")),
    Request("GET", "/nowhere", None), Request("TRACE", routes.HEALTH, None), Request("OPTIONS", routes.TASKS, "alice"),
    Request("HEAD", routes.HEALTH, None),
]  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with open_house(tmp_path_factory.mktemp("house")) as opened:
        yield opened


class Answer(NamedTuple):
    """An answer that was read to its end."""

    status: int
    headers: CIMultiDictProxy[str]
    text: str


async def ask(house: House, request: Request, **headers: str) -> Answer:
    sent = {**house.headers(request.who), **headers}
    async with house.client.request(request.method, request.path, headers=sent) as answer:
        return Answer(answer.status, answer.headers, await answer.text())


def read_policy(text: str) -> dict[str, set[str]]:
    return {words[0]: set(words[1:]) for part in text.split(";") if (words := part.split())}


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: f"{one.method} {one.path} {one.who}")
async def test_every_answer_has_the_headers_that_protect_browsers(house: House, request_: Request) -> None:
    answer = await ask(house, request_, Origin="https://evil.example")
    policy = read_policy(answer.headers["Content-Security-Policy"])

    assert policy["base-uri"] == policy["object-src"] == policy["frame-ancestors"] == {"'none'"}
    assert policy["default-src"] == ({"'self'"} if request_.path in _DOCS else {"'none'"})
    assert ("sandbox" in policy) == (request_.path not in _DOCS)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert ("no-store" in answer.headers["Cache-Control"]) == (request_.path not in _DOCS)
    assert "Set-Cookie" not in answer.headers
    assert not [name for name in answer.headers if name.startswith("Access-Control-")]
    assert answer.status < 300 or answer.status >= 400  # nobody is sent elsewhere


async def test_every_answer_says_its_type_and_text_its_charset(house: House) -> None:
    for request in REQUESTS:
        answer = await ask(house, request)
        if answer.text:
            assert answer.headers["Content-Type"] in _KINDS, request


async def test_trace_and_preflights_are_no_methods_of_the_gateway(house: House) -> None:
    for method in ("TRACE", "OPTIONS"):
        answer = await ask(house, Request(method, routes.TASKS, "alice"), **{"X-Secret": "s3cret"})

        assert answer.status == 405
        assert "s3cret" not in answer.text


async def test_what_changes_something_is_never_asked_with_get(house: House) -> None:
    """A page of somebody else can send GET and plain forms; it cannot send our header Authorization."""
    reading = {route.path for route in ROUTES if route.method == "GET"}
    writing = {route.path for route in ROUTES if route.method != "GET"}

    assert reading & writing == {routes.TASKS, routes.TOKENS}
    for path in writing - {routes.LOGIN, routes.AGENT_ENROL}:
        for method in ("POST", "PUT", "DELETE"):
            answer = await ask(house, Request(method, fill(path.replace(":.+", "")), None), Cookie="token=mltm_x")
            assert answer.status in (401, 405), path


@pytest.mark.parametrize(
    "path",
    ["/.git/config", "/docs/index.html", "/docs/../index.html", "/docs//", "/staging", "/files/", "/static"],
)
async def test_no_other_file_and_no_folder_is_served(house: House, path: str) -> None:
    assert (await ask(house, Request("GET", path, "root"))).status == 404


async def test_the_page_keeps_no_token_and_hides_a_password(house: House) -> None:
    script = (await ask(house, Request("GET", f"{routes.DOCS}/docs.js", None))).text
    document = json.loads((await ask(house, Request("GET", routes.OPENAPI, None))).text)
    asked = document["paths"][routes.LOGIN]["post"]["requestBody"]["content"]

    assert "SwaggerUIBundle(" in script
    assert "persistAuthorization" not in script  # off unless it is set: tokens stay in the page's memory
    for content in asked.values():
        schema = content["schema"]
        fields = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        assert fields["properties"]["password"]["format"] == "password"


@pytest.mark.parametrize("is_secure", [True, False])
async def test_https_is_remembered_for_a_year_and_for_every_host_below(*, is_secure: bool) -> None:
    shown = build_headers(is_secure=is_secure, request_id="x").get("Strict-Transport-Security")

    assert shown == ("max-age=31536000; includeSubDomains" if is_secure else None)
    assert render_response(HEADER_TOO_LARGE, is_secure=is_secure).headers.get("Strict-Transport-Security") == shown
