"""Reads a handler's arguments from a request, in this order: the caller, then the address, then the body."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from urllib.parse import parse_qsl

from aiohttp import hdrs, web
from pydantic import BaseModel

from gateway.errors import ForbiddenError, GatewayError, TooLargeError, UnauthorizedError
from gateway.http.access_watch import watching
from gateway.http.app_keys import USERS_LOAD
from gateway.http.multipart import receive_texts
from gateway.http.route import Call, Parameter, Route
from gateway.http.upload import check_total_size, receive_upload
from gateway.http.validation import (
    check_fields,
    check_idempotency_key,
    check_json,
    check_media_type,
    check_no_coding,
    check_task_id,
    refuse,
)
from gateway.origin import name_caller
from gateway.values import AgentIdentity, User
from mltm.contract.ids import TaskId
from mltm.contract.problems import FieldProblem
from mltm.runtime.collection import without_collection

__all__ = ["check_before_body", "is_administrator", "read_argument"]

_CALLER = web.RequestKey[User | AgentIdentity]("caller", object)  # type: ignore[arg-type]  # a union has no class
_MAX_FORM_FIELDS = 100
_ASK_S = 0.2
_TASK_NAMES = ("task_id", "job_id")
_PARSE_IN_THREAD_BYTES = 256 * 1024
# No other thread runs while JSON is read. The largest config that is allowed (100,000) fits, beside its report.
_MAX_VALUES = 130_000
_BEARER = FieldProblem(field="Authorization", allowed="`Bearer <token>` is needed")


async def read_argument(call: Call, route: Route, parameter: Parameter, stack: AsyncExitStack) -> object:
    """Read one argument. What must be cleaned up after the handler goes on the stack.

    After a body the caller is asked again who he is: a body may take hours, and a token be revoked meanwhile.
    """
    value = await _read_argument(call, route, parameter, stack)
    caller = route.find("user", "admin", "agent")
    if caller is not None and parameter.source in _BODIES:
        call.request.pop(_CALLER, None)
        await _identify(call, caller)
    return value


_BODIES = ("body", "form", "upload", "raw")


async def _read_argument(call: Call, route: Route, parameter: Parameter, stack: AsyncExitStack) -> object:
    model = parameter.annotation
    match parameter.source:
        case "user" | "admin" | "agent":
            caller = await _admit(call, route, parameter, stack)
            stack.enter_context(call.request.app[USERS_LOAD].request(caller))
            return caller
        case "path":
            text = _read_path(call.request, parameter)
            await _note_admin(call, parameter, text)
            return text
        case "query":
            return check_fields(model, call.request.query.items())
        case "headers":
            return check_fields(model, _own_headers(call.request, list(model.model_fields)))
        case "idempotency_key":
            return check_idempotency_key(call.request)
        case "body":
            return await _read_json(call.request, model, route.max_body_bytes)
        case "form":
            return check_fields(model, await _read_form(call.request, route.max_body_bytes))
        case "upload":
            stack.enter_context(call.request.app[USERS_LOAD].upload(call.request[_CALLER]))
            return await stack.enter_async_context(receive_upload(call))
        case "raw":
            return _read_blocks(call.request, route.max_body_bytes)


async def check_before_body(call: Call, route: Route) -> None:
    """Check what can be checked before a client that waits for `100 Continue` sends its body."""
    with watching(call.request):
        caller = route.find("user", "admin", "agent")
        if caller is not None:
            await _identify(call, caller)
        check_no_coding(call.request)
        if route.find("upload"):
            check_total_size(call)
        else:
            _check_announced_size(call.request, route.max_body_bytes)


async def is_administrator(call: Call) -> bool:
    """True if an administrator asks. No token, a wrong one, and a database that does not answer soon, are no error."""
    if hdrs.AUTHORIZATION not in call.request.headers:
        return False
    with contextlib.suppress(GatewayError, TimeoutError):
        async with asyncio.timeout(_ASK_S):
            return (await call.services.users.authenticate(_read_bearer(call.request))).is_admin
    return False


async def _identify(call: Call, parameter: Parameter) -> User | AgentIdentity:
    if _CALLER in call.request:
        known = call.request[_CALLER]
        name_caller(known)
        return known
    bearer = _read_bearer(call.request)
    caller: User | AgentIdentity
    if parameter.source == "agent":
        caller = await call.services.agents.authenticate(bearer)
    else:
        caller = await call.services.users.authenticate(bearer)
        name_caller(caller)
        if parameter.source == "admin" and not caller.is_admin:
            raise ForbiddenError(
                f"{call.request.method} {call.request.path} is for administrators, and {caller.username} is not one."
            )
    name_caller(caller)
    call.request[_CALLER] = caller
    return caller


async def _admit(call: Call, route: Route, parameter: Parameter, stack: AsyncExitStack) -> User | AgentIdentity:
    """Find out who calls, and give him his place in the route's lane: before the body is read, until the answer."""
    caller = await _identify(call, parameter)
    if route.lane is not None:
        name = f"Agent {caller.agent_id}" if isinstance(caller, AgentIdentity) else f"User {caller.username}"
        stack.enter_context(call.services.lanes.enter(route.lane, name))
    return caller


def _read_bearer(request: web.Request) -> str:
    values = request.headers.getall(hdrs.AUTHORIZATION, [])
    if not values:
        raise UnauthorizedError("The header Authorization is missing.", key="no_token", fields=[_BEARER])
    scheme, _, token = values[0].partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer" or not token.strip() or not token.isascii():
        message = "The header Authorization is not `Bearer <token>`."
        raise UnauthorizedError(message, key="bad_authorization", fields=[_BEARER])
    return token.strip()


def _own_headers(request: web.Request, names: list[str]) -> list[tuple[str, str]]:
    """Collect the headers X-Mltm-<Name> of a model's fields."""
    found = [(name, request.headers.getall(f"X-Mltm-{name.replace('_', '-').title()}", [])) for name in names]
    return [(name, value) for name, values in found for value in values]


def _check_announced_size(request: web.Request, limit: int) -> None:
    if (request.content_length or 0) > limit:
        raise TooLargeError(f"The body is too large: {request.content_length:,} bytes. At most {limit:,} are allowed.")


def _read_path(request: web.Request, parameter: Parameter) -> str:
    text = request.match_info[parameter.name]
    return check_task_id(text) if parameter.annotation is TaskId else text


async def _note_admin(call: Call, parameter: Parameter, text: str) -> None:
    """Write down that an admin uses another user's task, before he gets anything of it."""
    caller = call.request.get(_CALLER)
    if parameter.name not in _TASK_NAMES or not isinstance(caller, User) or not caller.is_admin:
        return
    owner = await call.services.tasks.find_owner(text)
    if owner and owner["of_user_id"] != caller.user_id:
        call.services.security.record("admin_access", "allowed", **owner)


async def _read_json(request: web.Request, model: type[BaseModel], limit: int) -> BaseModel:
    check_media_type(request, "application/json")
    raw = await _read_body(request, limit)
    if len(raw) > _PARSE_IN_THREAD_BYTES:
        _check_value_count(raw)
        return await asyncio.to_thread(_check_large_json, model, raw)
    return check_json(model, raw)


def _check_large_json(model: type[BaseModel], raw: bytes) -> BaseModel:
    with without_collection():
        return check_json(model, raw)


def _check_value_count(raw: bytes) -> None:
    """Refuse JSON of very many values: to read it stops the whole process for seconds, in a thread too."""
    count = sum(map(raw.count, (b",", b"[", b"{")))
    if count > _MAX_VALUES:
        raise TooLargeError(
            f"The body has too many values: {count:,} commas and brackets. At most {_MAX_VALUES:,} are allowed."
        )


async def _read_body(request: web.Request, limit: int) -> bytes:
    return b"".join([block async for block in _read_blocks(request, limit)])


async def _read_blocks(request: web.Request, limit: int) -> AsyncIterator[bytes]:
    """The body in blocks of at most 64 KiB. Raises TooLargeError, GatewayError (truncated_body)."""
    check_no_coding(request)
    _check_announced_size(request, limit)
    size = 0
    try:
        async for block in request.content.iter_chunked(64 * 1024):
            size += len(block)
            if size > limit:
                raise TooLargeError(f"The body is too large. At most {limit:,} bytes are allowed.")
            yield block
    except (OSError, web.PayloadAccessError, web.RequestPayloadError) as error:
        raise GatewayError(
            "The body ended too early: a part of it is missing.",
            status=400,
            key="truncated_body",
            title="Truncated body",
            next_step="Send it again.",
        ) from error


async def _read_form(request: web.Request, limit: int) -> list[tuple[str, str]]:
    check_media_type(request, "application/x-www-form-urlencoded", "multipart/form-data")
    _check_announced_size(request, limit)
    if request.content_type == "multipart/form-data":
        return await receive_texts(request, limit)
    raw = await _read_body(request, limit)
    try:
        return parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FORM_FIELDS)
    except ValueError as error:
        raise refuse("malformed_form", "body", "this is not a form in UTF-8") from error
