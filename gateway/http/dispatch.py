"""Connects routes to aiohttp: reads a handler's arguments, calls it, renders its answer."""

import itertools
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, TypeAdapter

from gateway.http.app_keys import SERVICES, SETTINGS
from gateway.http.arguments import check_before_body, read_argument
from gateway.http.problems import guard
from gateway.http.route import Call, Reply, Route

__all__ = ["add_route"]


def add_route(app: web.Application, route: Route) -> None:
    """Register a route, with and without the trailing slash. What has GET has HEAD, too."""
    methods = (hdrs.METH_GET, hdrs.METH_HEAD) if route.method == hdrs.METH_GET else (route.method,)
    for method, path in itertools.product(methods, route.paths):
        app.router.add_route(method, path, _build_handler(route), expect_handler=_build_expect_handler(route))


def _build_handler(route: Route) -> Handler:
    render = _build_renderer(route)

    async def handle(request: web.Request) -> web.StreamResponse:
        call = _call(request)
        async with AsyncExitStack() as stack:
            arguments = {p.name: await read_argument(call, route, p, stack) for p in route.parameters}
            return render(await route.handler(call, **arguments))

    return handle


def _build_expect_handler(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse | None]]:
    """Refuse before the body is sent, for clients that ask first (curl does above 1 MiB). Runs outside middlewares."""

    async def check(request: web.Request) -> web.StreamResponse:
        await check_before_body(_call(request), route)
        return _CONTINUE

    async def expect(request: web.Request) -> web.StreamResponse | None:
        answer = await guard(request, check)
        if answer is not _CONTINUE:
            return answer
        if request.version < HttpVersion11:
            return None  # RFC 9110, 10.1.1: such a client does not know the answer
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # as aiohttp's own handler does: the answer has not begun
        return None

    return expect


_CONTINUE = web.StreamResponse()


def _call(request: web.Request) -> Call:
    return Call(request=request, services=request.app[SERVICES], settings=request.app[SETTINGS])


def _build_renderer(route: Route) -> Callable[[object], web.StreamResponse]:
    adapter: TypeAdapter[object] = TypeAdapter(route.answer) if route.media is None else TypeAdapter(object)

    def render(given: object) -> web.StreamResponse:
        if isinstance(given, web.StreamResponse):
            return given
        reply = given if isinstance(given, Reply) else Reply(given, route.status)
        if reply.value is None:
            return web.Response(status=reply.status, headers=reply.headers)
        value = reply.value
        body = value.model_dump_json().encode() if isinstance(value, BaseModel) else adapter.dump_json(value)
        return web.Response(status=reply.status, headers=reply.headers, body=body, content_type="application/json")

    return render
