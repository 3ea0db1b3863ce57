"""A route: its handler's annotations drive both the validation and the OpenAPI document.

A handler's parameters are named after where they come from: `call`, `user`, `admin`, `agent`, `query`, `body`,
`form`, `upload`, `raw`, `headers`, `idempotency_key`; every other name is a part of the path.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

from aiohttp import web

from gateway.services.all_services import Services
from gateway.services.lanes import LaneName
from gateway.settings import GatewaySettings

__all__ = ["Area", "Call", "Media", "Method", "Parameter", "Reply", "Route", "Source", "route"]

T = TypeVar("T")
Method = Literal["GET", "POST", "PUT", "DELETE"]
Area = Literal["tasks", "outputs", "users", "predecessor", "agents", "service"]
Source = Literal[
    "user", "admin", "agent", "path", "query", "headers", "idempotency_key", "body", "form", "upload", "raw"
]  # fmt: skip
_SOURCES: tuple[Source, ...] = get_args(Source)
_PATH_NAME = re.compile(r"{(\w+)(?::[^}]+)?}")


@dataclass(frozen=True)
class Call:
    """What a handler may use: the request, and the gateway behind it."""

    request: web.Request
    services: Services
    settings: GatewaySettings


@dataclass(frozen=True)
class Reply(Generic[T]):
    """An answer with another status than the route's usual status, or with headers."""

    value: T
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Media:
    """An answer that is not JSON, as the OpenAPI document shows it."""

    content_type: str
    description: str


@dataclass(frozen=True)
class Parameter:
    """One parameter of a handler: its name, where it comes from and its type."""

    name: str
    source: Source
    annotation: Any


@dataclass(frozen=True)
class Route:
    """One row of the route table."""

    method: Method
    path: str
    handler: Callable[..., Awaitable[object]]
    parameters: tuple[Parameter, ...]
    answer: Any
    area: Area
    summary: str
    description: str
    status: int
    also: tuple[int, ...]
    errors: tuple[int, ...]
    media: Media | None
    headers: tuple[str, ...]
    max_body_bytes: int
    lane: LaneName | None

    @property
    def document_path(self) -> str:
        """The path without aiohttp's patterns."""
        return _PATH_NAME.sub(r"{\1}", self.path)

    @property
    def paths(self) -> tuple[str, ...]:
        """With and without the trailing slash; a file's path has one form."""
        return (self.path,) if self.path.endswith(":.+}") else (self.path, self.path + "/")

    def find(self, *sources: Source) -> Parameter | None:
        """The parameter that comes from one of these sources."""
        return next((parameter for parameter in self.parameters if parameter.source in sources), None)


def route(
    method: Method,
    path: str,
    *,
    area: Area,
    status: int = 200,
    also: tuple[int, ...] = (),
    errors: tuple[int, ...] = (),
    media: Media | None = None,
    headers: tuple[str, ...] = (),
    max_body_bytes: int = 64 * 1024,
    lane: LaneName | None = None,
) -> Callable[[Callable[..., Awaitable[object]]], Route]:
    """Turn a handler into a route. Its docstring's first line is the summary, the rest the description.

    `status`: of the usual answer; `also`: of other good answers; `errors`: those that its parameters do not imply.
    `headers`: of each good answer, beside those that every answer has. `lane`: how many of its requests run at once.
    """

    def build(handler: Callable[..., Awaitable[object]]) -> Route:
        hints = get_type_hints(handler)
        answer = hints.pop("return")
        summary, _, description = inspect.cleandoc(handler.__doc__ or "").partition("\n")
        return Route(
            method=method,
            path=path,
            handler=handler,
            parameters=_order([_describe(name, hint, path) for name, hint in hints.items() if name != "call"]),
            answer=get_args(answer)[0] if get_origin(answer) is Reply else answer,
            area=area,
            summary=summary.rstrip("."),
            description=description.strip(),
            status=status,
            also=also,
            errors=(*errors, 429, 503) if lane else errors,
            media=media,
            headers=headers,
            max_body_bytes=max_body_bytes,
            lane=lane,
        )

    return build


def _describe(name: str, hint: Any, path: str) -> Parameter:
    source = next((known for known in _SOURCES if known == name), None)
    if source is not None:
        return Parameter(name, source, hint)
    if name not in _PATH_NAME.findall(path):
        raise TypeError(f"{name!r} is neither a source nor a part of {path}")
    return Parameter(name, "path", hint)


def _order(parameters: list[Parameter]) -> tuple[Parameter, ...]:
    """The caller first, the body last: nothing else is read before the caller is known."""
    return tuple(sorted(parameters, key=lambda parameter: _SOURCES.index(parameter.source)))
