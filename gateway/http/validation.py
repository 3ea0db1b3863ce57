"""Checks what users and agents send against pydantic models; the error names each wrong field."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from gateway.errors import GatewayError, InvalidError, NotFoundError
from mltm.contract.ids import TaskId, parse_task_id
from mltm.contract.problems import FieldProblem

__all__ = [
    "check_fields", "check_idempotency_key", "check_json", "check_media_type", "check_no_coding", "check_task_id",
    "refuse",
]  # fmt: skip

M = TypeVar("M", bound=BaseModel)
_PRINTABLE = re.compile(r"[\x20-\x7e]{1,255}")


def refuse(key: str, field: str, allowed: str, *, given: str = "", next_step: str | None = None) -> InvalidError:
    """Build the error for one wrong field."""
    problem = FieldProblem(field=field, given=given[:80], allowed=allowed)
    return InvalidError(str(problem), key=key, fields=[problem], next_step=next_step)


def check_fields(model: type[M], pairs: Iterable[tuple[str, str]]) -> M:
    """Check text fields of a query or a form. Raises InvalidError that names them."""
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise refuse("invalid", name, "it is given twice; give it once")
        fields[name] = value
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise _explain(error, model) from error


def check_json(model: type[M], raw: bytes) -> M:
    """Check a JSON body. Raises InvalidError that names the fields."""
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise _explain(error, model) from error


def check_task_id(text: str) -> TaskId:
    """Read the task id in a path. Raises NotFoundError: what is not a task id names no task."""
    try:
        return parse_task_id(text)
    except ValueError as error:
        raise NotFoundError(str(error), fields=[FieldProblem(field="task_id", allowed=str(error))]) from error


def check_idempotency_key(request: web.Request) -> str | None:
    """Read the header Idempotency-Key; None if it is missing. Raises InvalidError."""
    values = request.headers.getall("Idempotency-Key", [])
    if not values:
        return None
    if len(values) > 1 or not _PRINTABLE.fullmatch(values[0]):
        raise refuse(
            "bad_idempotency_key",
            "Idempotency-Key",
            "send this header once, with 1 to 255 printable ASCII characters",
            given=ascii(values[0]),
            next_step="Send a new random value, for example a UUID, with each new task.",
        )
    return values[0]


def check_media_type(request: web.Request, *allowed: str) -> None:
    """Refuse a body of another media type, of another charset or with a coding with 415."""
    check_no_coding(request)
    if request.content_type not in allowed:
        given = request.headers.get("Content-Type", "")
        wanted = " or ".join(allowed)
        problem = FieldProblem(field="Content-Type", given=given[:80] or "none", allowed=f"{wanted} is needed")
        raise GatewayError(
            str(problem),
            status=415,
            key="unsupported_media_type",
            title="Wrong content type",
            next_step=f"Send the body as {wanted}. With curl: {_CURL.get(allowed[0], '--data-binary @file')}.",
            fields=[problem],
        )

    charset = _read_charset(request)
    if charset not in _UTF_8:
        problem = FieldProblem(field="Content-Type", given=charset[:80], allowed="the charset utf-8 is needed")
        raise GatewayError(
            str(problem),
            status=415,
            key="unsupported_charset",
            title="Wrong charset",
            next_step="Send the body in UTF-8, and leave out the charset.",
            fields=[problem],
        )


_UTF_8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})  # ASCII is UTF-8


def _read_charset(request: web.Request) -> str:
    return (request.charset or "utf-8").strip().lower()


def check_no_coding(request: web.Request) -> None:
    """Refuse a compressed body with 415 (RFC 9110, 8.4): a few bytes of it can be millions."""
    codings = [value.strip().lower() for value in request.headers.getall("Content-Encoding", [])]
    if any(coding not in ("", "identity") for coding in codings):
        problem = FieldProblem(
            field="Content-Encoding", given=", ".join(codings)[:80], allowed="only identity is supported"
        )
        raise GatewayError(
            str(problem),
            status=415,
            key="unsupported_coding",
            title="Compressed body",
            next_step="Send the body as it is, without Content-Encoding.",
            fields=[problem],
        )


_CURL: Mapping[str, str] = {
    "multipart/form-data": "-F files=@config.json -F files=@script.py",
    "application/json": "-H 'Content-Type: application/json' -d '{…}'",
    "application/x-www-form-urlencoded": "-d username=… -d password=…",
}


def _explain(error: ValidationError, model: type[BaseModel]) -> InvalidError:
    details = error.errors(include_url=False, include_context=False)
    fields = [_explain_one(dict(detail), model) for detail in details[:20]]
    return InvalidError("; ".join(map(str, fields)), fields=fields)


def _explain_one(detail: dict[str, object], model: type[BaseModel]) -> FieldProblem:
    loc = detail["loc"]
    field = ".".join(str(step) for step in loc) if isinstance(loc, tuple) and loc else "body"
    message = str(detail["msg"]).removeprefix("Value error, ")
    match detail["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(field, list(model.model_fields), n=1)
            known = ", ".join(model.model_fields)
            hint = f"Did you mean {near[0]}?" if near else f"Known fields: {known}."
            return FieldProblem(field=field, allowed="no such field", hint=hint)
        case "missing":
            return FieldProblem(field=field, allowed="required, but missing")
        case "json_invalid":
            return FieldProblem(field="body", allowed=f"not valid JSON: {message}")
        case _:
            # A password or a token must not come back in an answer, nor reach a log.
            given = "" if field in _SECRET else ascii(detail.get("input"))[:80]
            return FieldProblem(field=field, given=given, allowed=message)


_SECRET = frozenset({"password", "current_password", "new_password", "code", "client_secret", "body"})
