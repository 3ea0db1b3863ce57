"""Builds the OpenAPI 3.1 document from the route table: the same models that check the requests."""

import functools
from http import HTTPStatus
from importlib.metadata import version
from types import NoneType
from typing import Any, get_args, get_origin

from openapi_pydantic import OpenAPI
from openapi_pydantic.util import PydanticSchema, construct_open_api_with_schema_class
from pydantic import BaseModel

from gateway.http.route import Parameter, Route
from mltm.contract import routes
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
    "user": (401, 429),
    "admin": (401, 403, 429),
    "agent": (401, 429),
    "query": (422,),
    "headers": (422,),
    "idempotency_key": (422,),
    "body": (400, 413, 415, 422),
    "form": (400, 413, 415, 422),
    "upload": (400, 413, 415, 422),
    "raw": (400, 413),
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
    return whole.model_dump_json(by_alias=True, exclude_none=True, exclude_unset=True).encode()


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
        good[str(status)] = {"description": HTTPStatus(status).phrase, "content": problem}
    good["default"] = {"description": "Any other error", "content": problem}
    return good


def _describe_good(route: Route, status: int) -> Json:
    answer: Json = {"description": HTTPStatus(status).phrase}
    if route.media is not None:
        schema = {} if route.media.content_type.endswith("json") else {"type": "string"}
        answer = {
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
            schema = {"type": "string", "minLength": 1, "maxLength": 255}
            return [{"name": "Idempotency-Key", "in": "header", "description": message, "schema": schema}]
        case _:
            return []


def _describe_fields(model: type[BaseModel], place: str, spelling: str) -> list[Json]:
    whole = model.model_json_schema()
    described: list[Json] = []
    for name, schema in whole["properties"].items():
        plain = _inline(schema, whole.get("$defs", {}))
        wire = name if place == "query" else name.replace("_", "-").title()
        row = {
            "name": spelling.format(wire),
            "in": place,
            "required": name in whole.get("required", []),
            "schema": plain,
        }
        described.append(row | ({"description": plain["description"]} if "description" in plain else {}))
    return described


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
    """One field for the config and one for the files; all parts may also be called `files`."""
    files: Json = {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}
    files["description"] = "the script, with the name in script_path, and more files if the task needs them"
    schema = {
        "type": "object",
        "required": ["config", "files"],
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
