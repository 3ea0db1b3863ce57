"""Builds the OpenAPI 3.1 document from the route table: the same models that check the requests."""

import functools
import json
from collections.abc import Iterable
from http import HTTPStatus
from importlib.metadata import version
from types import NoneType
from typing import Any, get_args, get_origin

from openapi_pydantic import OpenAPI
from openapi_pydantic.util import PydanticSchema, construct_open_api_with_schema_class
from pydantic import BaseModel

from gateway.http.route import Parameter, Route
from mltm.contract import routes
from mltm.contract.base_models import MAX_INT64
from mltm.contract.problems import CONTENT_TYPE, Problem
from mltm.contract.task_config import TaskConfig

__all__ = ["build_document"]

Json = dict[str, Any]
_ABOUT = (
    "Submit machine-learning tasks, follow them, fetch their outputs. Every address works with and without a "
    "trailing slash. Every error is a problem document (RFC 9457) with a stable `key` and a `next_step`."
)
_SECURITY: Json = {
    "token": {"type": "http", "scheme": "bearer", "description": "a token from /auth/login or /v1/tokens"},
    "password": {"type": "oauth2", "flows": {"password": {"tokenUrl": routes.LOGIN, "scopes": {}}}},
    "agent": {"type": "http", "scheme": "bearer", "description": "an agent's credential, from its enrolment"},
}
_IMPLIED: dict[str, tuple[int, ...]] = {
    "user": (401, 429, 503),
    "admin": (401, 403, 429, 503),
    "agent": (401, 429, 503),
    "query": (422,),
    "headers": (422,),
    "idempotency_key": (422,),
    "body": (400, 408, 413, 415, 422),
    "form": (400, 408, 413, 415, 422),
    "upload": (400, 408, 413, 415, 422, 507),
    "raw": (400, 408, 413, 415),
}


@functools.cache
def build_document(table: tuple[Route, ...]) -> bytes:
    """Build the document as JSON bytes; once for each table, because it takes a tenth of a second."""
    paths: dict[str, Json] = {}
    for route in table:
        paths.setdefault(route.document_path, {})[route.method.lower()] = _describe(route)
    document = OpenAPI.model_validate(
        {
            "openapi": "3.1.1",
            "info": {"title": "ML Task Manager", "version": version("ml-task-manager"), "description": _ABOUT},
            "paths": paths,
            "components": {"securitySchemes": _SECURITY},
        }
    )
    whole = construct_open_api_with_schema_class(document, by_alias=True)
    plain = _mend(whole.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True))
    return json.dumps(plain, ensure_ascii=False).encode()


def _mend(schema: Any) -> Any:
    """Write whole bounds as whole numbers: openapi_pydantic 0.5 makes floats of them, and 2^63 of 2^63 - 1.

    Of a dict whose keys have a pattern, pydantic 2.14 writes a schema that allows every other key, too.
    """
    if isinstance(schema, list):
        return [_mend(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    mended = {name: _mend(value) for name, value in schema.items()}
    for name in ("minimum", "maximum"):
        bound = mended.get(name)
        if isinstance(bound, float) and bound.is_integer():
            mended[name] = max(-MAX_INT64, min(int(bound), MAX_INT64))
    if isinstance(mended.get("patternProperties"), dict) and "additionalProperties" not in mended:
        ((pattern, value),) = mended.pop("patternProperties").items()
        mended |= {"propertyNames": {"pattern": pattern}, "additionalProperties": value}
    return mended


def _describe(route: Route) -> Json:
    operation: Json = {
        "operationId": f"{route.handler.__module__.rsplit('.', 1)[-1]}.{route.handler.__name__}",
        "tags": [route.area],
        "summary": route.summary,
        "responses": _describe_answers(route),
    }
    if route.description:
        operation["description"] = route.description
    if parameters := [found for parameter in route.parameters for found in _describe_parameter(parameter)]:
        operation["parameters"] = parameters
    if body := _describe_body(route):
        operation["requestBody"] = {"required": True, "content": body}
    if route.find("agent"):
        operation["security"] = [{"agent": []}]
    elif route.find("user", "admin"):
        operation["security"] = [{"token": []}, {"password": []}]
    return operation


def _describe_answers(route: Route) -> Json:
    good: Json = {str(status): _describe_good(route, status) for status in (route.status, *route.also)}
    implied = {status for parameter in route.parameters for status in _IMPLIED.get(parameter.source, ())}
    problem: Json = {CONTENT_TYPE: {"schema": PydanticSchema(schema_class=Problem)}}
    for status in sorted({*implied, *route.errors} - {int(known) for known in good}):
        headers = _describe_headers(_ERROR_HEADERS.get(status, ()))
        good[str(status)] = {"description": HTTPStatus(status).phrase, "headers": headers, "content": problem}
    good["default"] = {"description": _ANY_OTHER, "headers": _describe_headers(()), "content": problem}
    return good


_ANY_OTHER = (
    "What is wrong with the request before its address counts: 400, 408, 414, 417, 431; 429 and 503 if there are too "
    "many connections; 500 if the gateway has a fault"
)
_ERROR_HEADERS: dict[int, tuple[str, ...]] = {401: ("WWW-Authenticate",), 429: ("Retry-After",)}
_WHOLE: Json = {"type": "integer", "minimum": 0, "maximum": MAX_INT64}
_HEADERS: dict[str, tuple[str, Json]] = {
    "X-Request-Id": ("names this request in the gateway's log", {"type": "string", "pattern": "^[0-9a-f]{32}$"}),
    "WWW-Authenticate": ("how to log in", {"type": "string"}),
    "Retry-After": ("seconds", {"type": "integer", "minimum": 1}),
    "Location": ("the address of the task", {"type": "string"}),
    "X-Mltm-Offset": ("the first byte of this piece", _WHOLE),
    "X-Mltm-Size": ("the size of the file now", _WHOLE),
    "X-Mltm-Final": ("true if the file no longer grows", {"type": "boolean"}),
    "Content-Disposition": ("the name of the file", {"type": "string"}),
    "Accept-Ranges": ("`bytes`", {"type": "string", "const": "bytes"}),
    "Content-Range": ("which bytes these are", {"type": "string", "pattern": "^bytes [0-9]+-[0-9]+/[0-9]+$"}),
}


def _describe_headers(names: Iterable[str]) -> Json:
    """What an answer has for certain. The headers that protect browsers are in every answer, and not listed."""
    found = {name: _HEADERS[name] for name in ("X-Request-Id", *names)}
    return {
        name: {"description": description, "required": True, "schema": schema}
        for name, (description, schema) in found.items()
    }


def _describe_good(route: Route, status: int) -> Json:
    names = (*route.headers, "Content-Range") if status == 206 else route.headers
    answer: Json = {"description": HTTPStatus(status).phrase, "headers": _describe_headers(names)}
    if route.media is not None:
        schema = {} if route.media.content_type.endswith("json") else {"type": "string"}
        answer |= {
            "description": route.media.description,
            "content": {route.media.content_type: {"schema": schema}},
        }
    elif route.answer is not NoneType:
        answer["content"] = {"application/json": {"schema": _schema(route.answer)}}
    return answer


def _schema(answer: Any) -> object:
    if get_origin(answer) is list:
        return {"type": "array", "items": PydanticSchema(schema_class=get_args(answer)[0])}
    return PydanticSchema(schema_class=answer)


def _describe_parameter(parameter: Parameter) -> list[Json]:
    match parameter.source:
        case "path":
            return [{"name": parameter.name, "in": "path", "required": True, "schema": {"type": "string"}}]
        case "query":
            return _describe_fields(parameter.annotation, "query", "{}")
        case "headers":
            return _describe_fields(parameter.annotation, "header", "X-Mltm-{}")
        case "idempotency_key":
            message = "any value that you choose for this task: sending the task again then makes no second task"
            schema = {"type": "string", "maxLength": 255, "pattern": _KEY_PATTERN}
            return [{"name": "Idempotency-Key", "in": "header", "description": message, "schema": schema}]
        case _:
            return []


def _describe_fields(model: type[BaseModel], place: str, spelling: str) -> list[Json]:
    whole = model.model_json_schema()
    described: list[Json] = []
    for name, schema in whole["properties"].items():
        plain = _without_null(_inline(schema, whole.get("$defs", {})))
        wire = name if place == "query" else name.replace("_", "-").title()
        row = {
            "name": spelling.format(wire),
            "in": place,
            "required": name in whole.get("required", []),
            "schema": plain,
        }
        described.append(row | ({"description": plain["description"]} if "description" in plain else {}))
    return described


# A server drops the spaces around a header's value.
_KEY_PATTERN = r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$"


def _without_null(schema: Json) -> Json:
    """A parameter that may be left out has no null: in an address or a header that would be the text `null`."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default" if kinds else "anyOf")}
    return {**kinds[0], **rest} if len(kinds) == 1 else schema


def _inline(schema: Any, definitions: Json) -> Any:
    """Replace references by their definitions: parameters have no components of their own."""
    if isinstance(schema, list):
        return [_inline(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inline(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    return {name: _inline(value, definitions) for name, value in schema.items()}


def _describe_body(route: Route) -> Json | None:
    parameter = route.find("body", "form", "upload", "raw")
    match parameter.source if parameter else None:
        case "body":
            assert parameter is not None
            return {"application/json": {"schema": PydanticSchema(schema_class=parameter.annotation)}}
        case "form":
            assert parameter is not None
            return {"application/x-www-form-urlencoded": {"schema": PydanticSchema(schema_class=parameter.annotation)}}
        case "upload":
            return {"multipart/form-data": _describe_upload()}
        case "raw":
            return {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        case _:
            return None


def _describe_upload() -> Json:
    """One field for the config and one for the files. That a file may stand under any name is for old clients."""
    files: Json = {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary", "minLength": 1}}
    files["description"] = "the script, with the name in script_path, and more files if the task needs them"
    schema = {
        "type": "object",
        "required": ["config", "files"],
        "additionalProperties": False,
        "properties": {"config": PydanticSchema(schema_class=TaskConfig), "files": files},
    }
    return {"schema": schema, "encoding": {"config": {"contentType": "application/json"}}, "example": _EXAMPLE}


_EXAMPLE: Json = {
    "config": {
        "runner_location": "atena02",
        "dataset_name": "wine_classification",
        "model_params": {"n_estimators": 2, "random_state": 42},
        "script_path": "script.py",
        "clusters": {"atena02": {"infra_config": {"instance_type": "cpu", "image_name": "sklearn_sample_latest"}}},
    }
}
