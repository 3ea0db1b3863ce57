"""What the cases are made to respect, because OpenAPI cannot say it, and which reports of a check are no break.

Everything is as narrow as it can be: one check, one operation, one reason.
"""

import itertools
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import requests
import schemathesis
from schemathesis.core.failures import Failure
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.transport import Response
from schemathesis.openapi.checks import RejectedPositiveData

from mltm.contract import routes
from mltm.contract.param_args import check_list_args
from mltm.contract.problems import CONTENT_TYPE, Problem
from tests.gateway.build import CLUSTER

__all__ = ["EVERYWHERE", "hooks_in_place", "sharpen"]

# What stands before the routes may answer these to anything; the document names them under `default`.
EVERYWHERE = ("400", "414", "431")
_UPLOADS = (f"POST {routes.TASKS}", f"POST {routes.PREDECESSOR_NEW_TASK}")
_FILE = "application/octet-stream"
_BYTES = f"PUT {routes.AGENT_BYTES}"
_HEADERS = (
    "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Cross-Origin-Resource-Policy",
    "Content-Security-Policy", "Cache-Control", "X-Request-Id",
)  # fmt: skip
# Problems of well formed requests that depend on what is stored or on two parts at once. No schema can tell.
_STATE: dict[str, dict[str, str]] = {
    _BYTES: {
        "no_bytes_wanted": "this command asks for no bytes",
        "bad_bytes": "offset and size are not those of the command",
    },
    f"POST {routes.AGENT_ACK}": {"bytes_needed": "this command is answered by bytes"},
}


def sharpen(document: dict[str, Any]) -> dict[str, Any]:
    """The gateway's document, with nothing left open: without `default`, each status has to be listed."""
    for operations in document["paths"].values():
        for operation in operations.values():
            rest = operation["responses"].pop("default")
            operation["responses"] |= {status: rest for status in EVERYWHERE if status not in operation["responses"]}
    return document


@contextmanager
def hooks_in_place(kept_tokens: frozenset[str]) -> Iterator[None]:
    """Have the hooks, and the check of ours, for the length of the block. schemathesis keeps both for the process."""
    numbers = itertools.count(1)

    def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
        is_upload = case.operation.label in _UPLOADS
        is_keyed = is_upload and _is_good(case, ParameterLocation.HEADER)
        kwargs["auth"] = _finish(next(numbers), kept_tokens, is_keyed=is_keyed)
        if is_upload and isinstance(case.body, dict) and _is_good(case, ParameterLocation.BODY):
            kwargs["files"] = _fit_upload(case.body)

    def filter_failure(context: Any, failure: Failure, case: Any, response: Response) -> bool:
        return not _is_no_break(failure, case, response)

    schemathesis.hook(before_call)
    schemathesis.hook(filter_failure)
    schemathesis.check(problems_and_headers)
    try:
        yield
    finally:
        schemathesis.hooks.unregister(before_call)
        schemathesis.hooks.unregister(filter_failure)
        schemathesis.checks.CHECKS.unregister(problems_and_headers.__name__)


def problems_and_headers(ctx: Any, response: Response, case: Any) -> None:
    """Every answer has the protecting headers. Every error is a problem document with a next step; none is a 500."""
    missing = [name for name in _HEADERS if name.lower() not in response.headers]
    assert not missing, f"headers are missing: {missing}"
    assert response.headers["server"] == ["mltm-gateway"], response.headers["server"]
    if response.status_code < 400 or (response.status_code == 503 and case.path == routes.HEALTH):
        return
    assert response.status_code != 500, response.text[:500]
    assert response.headers["content-type"] == [CONTENT_TYPE], response.headers["content-type"]
    problem = Problem.model_validate_json(response.content)
    assert (problem.status, bool(problem.key), bool(problem.next_step)) == (response.status_code, True, True)
    assert [problem.request_id] == response.headers["x-request-id"]


def _finish(
    number: int, kept_tokens: frozenset[str], *, is_keyed: bool
) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    """Change what goes over the wire; the case itself stays as it was.

    * Each request comes from an address of its own, so that the limits of one address are not met.
    * The coverage phase sends one Idempotency-Key with each body: after the first, all would be 409.
    * A caller who revoked the token that he calls with would get 401 from then on.
    * A long poll may take 60 s.

    If a hook changes a case's header, schemathesis 4.32.5 judges all of its headers again, and takes the Authorization
    that it added itself for a header that the document forbids. So the case is left alone.
    """

    def change(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["X-Forwarded-For"] = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        before, _, last = (request.url or "").rpartition("/")
        if request.method == "DELETE" and last in {routes.CURRENT_TOKEN, *kept_tokens}:
            request.url = f"{before}/{'0' * 32}"
        if request.method == "GET":
            request.url = _shorten_wait(request.url or "")
        key = request.headers.get("Idempotency-Key")
        if is_keyed and key and len(key) < 240:
            request.headers["Idempotency-Key"] = f"{key}{number}"
        return request

    return change


def _is_good(case: Any, location: ParameterLocation) -> bool:
    return case.meta is not None and not case.meta.is_negative_at(location)


def _fit_upload(body: dict[str, Any]) -> list[tuple[str, tuple[str | None, bytes, str]]]:
    """Make the parts of an upload fit each other: the script's name, a section for a cluster that exists, arguments."""
    infra = {"infra_config": {"instance_type": "cpu", "image_name": "sklearn"}}
    config = {**body["config"], "runner_location": CLUSTER}
    config["clusters"] = {**config["clusters"], CLUSTER: infra}
    if {"bool_args", "list_args"} & config.keys():
        config["params_as_args"] = True  # without it they have no effect, and are refused
        try:
            check_list_args(config.get("model_params", {}), config.get("list_args", "json"))
        except ValueError:
            config["list_args"] = "json"  # the other forms cannot carry each list
    paths = [config[name] for name in ("script_path", "script_name") if config.get(name) is not None]
    script = paths[0].rsplit("/", 1)[-1]
    if len(paths) == 2:
        config["script_name"] = script
    names = [script, *(f"more-{number}.csv" for number in range(len(body["files"]) - 1))]
    files = [("files", (name, _read_bytes(file), _FILE)) for name, file in zip(names, body["files"], strict=True)]
    return [("config", (None, json.dumps(config).encode(), "application/json")), *files]


def _read_bytes(file: Any) -> bytes:
    raw = getattr(file, "data", file)
    return raw if isinstance(raw, bytes) else str(raw).encode()


def _shorten_wait(url: str) -> str:
    """Of a poll: a wait that the gateway would take, or none (which is 25 s), becomes 0."""
    path, _, query = url.partition("?")
    if not path.rstrip("/").endswith(routes.AGENT_COMMANDS):
        return url
    if not query:
        return f"{path}?wait=0"
    return f"{path}?wait=0" if re.fullmatch(r"wait=[0-9.]+(e-[0-9]+)?", query) and float(query[5:]) <= 60 else url


def _is_no_break(failure: Failure, case: Any, response: Response) -> bool:
    label = case.operation.label
    key = _read_key(response)
    if isinstance(failure, RejectedPositiveData):
        return key in _STATE.get(label, {})
    return False


def _read_key(response: Response) -> str:
    try:
        return str(json.loads(response.content)["key"])
    except (ValueError, KeyError, TypeError):
        return ""
