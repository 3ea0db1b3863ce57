import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import FormData
from aiohttp.test_utils import TestClient, TestServer
from openapi_spec_validator import validate

from gateway.errors import UnauthorizedError
from gateway.http.application import build_app
from gateway.security_log import SecurityLog
from gateway.services.all_services import Services
from gateway.services.guesses import Guesses
from gateway.settings import GatewaySettings
from gateway.values import User
from mltm.runtime.clock import Clock


async def _authenticate(bearer: str) -> User:
    if bearer != "good":
        raise UnauthorizedError("This token is not known.")
    return User("alice", "user", "a" * 32)


@pytest.fixture
async def client(tmp_path: Path) -> Any:
    users = SimpleNamespace(authenticate=_authenticate)
    security = await asyncio.to_thread(SecurityLog, tmp_path / "security.log", Clock().now)
    services = cast("Services", SimpleNamespace(users=users, guesses=Guesses(Clock()), security=security))
    async with TestClient(TestServer(build_app(services, GatewaySettings(data_dir=tmp_path)))) as opened:
        yield opened
    await asyncio.to_thread(security.close)


CONFIG = {
    "runner_location": "atena02",
    "script_path": "script.py",
    "clusters": {"atena02": {"infra_config": {"instance_type": "cpu", "image_name": "x"}}},
}


async def test_the_document_is_valid_openapi(client: Any) -> None:
    answer = await client.get("/openapi.json/")
    validate(await answer.json())


async def test_an_unknown_address_is_a_problem(client: Any) -> None:
    answer = await client.get("/nowhere")
    assert (answer.status, answer.content_type) == (404, "application/problem+json")
    assert (await answer.json())["key"] == "route_not_found"


@pytest.mark.parametrize("path", ["/tasks", "/tasks/", "/v1/tasks", "/users/", "/v1/agent/../me"])
async def test_no_token_is_401(client: Any, path: str) -> None:
    assert (await client.get(path)).status == 401


@pytest.mark.parametrize(
    ("files", "key"),
    [
        ([("s.py", "print()")], "no_config"),
        ([("a.json", json.dumps(CONFIG)), ("b.json", "{}")], "two_configs"),
        ([("a.json", json.dumps(CONFIG))], "no_script"),
        ([("a.json", json.dumps(CONFIG)), ("other.py", "print()")], "script_name_mismatch"),
        ([("a.json", "{"), ("script.py", "print()")], "bad_config"),
        ([("a.json", json.dumps(CONFIG)), ("../script.py", "print()")], "bad_file_name"),
        ([("a.json", json.dumps(CONFIG)), ("script.py", "")], "empty_script"),
    ],
)
async def test_a_wrong_upload_is_named_and_leaves_nothing(
    client: Any, tmp_path: Path, files: list[tuple[str, str]], key: str
) -> None:
    form = FormData(quote_fields=False)
    for name, text in files:
        form.add_field("files", text.encode(), filename=name)
    answer = await client.post("/new_task/", data=form, headers={"Authorization": "Bearer good"})
    problem = await answer.json()
    assert (answer.status, problem["key"]) == (422, key)
    assert problem["fields"]
    assert problem["next_step"]
    assert not list((tmp_path / "staging").iterdir())
