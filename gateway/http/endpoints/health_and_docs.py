"""/healthz, the OpenAPI document and its page. Nothing here needs a token, and the page needs no other host."""

from importlib.resources import files
from typing import Final

from aiohttp import web

from gateway.http.app_keys import OPENAPI_DOCUMENT, SWAGGER_FILES, StaticFile
from gateway.http.arguments import is_administrator
from gateway.http.response_headers import POLICY_OF_ALL
from gateway.http.route import Call, Media, Reply, route
from mltm.contract import routes
from mltm.contract.user_api import Health

__all__ = ["read_docs", "read_docs_file", "read_health", "read_openapi", "read_swagger_files"]

_TYPES: Final = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript", "docs.js": "text/javascript"}
_PAGE = "index.html"


def read_swagger_files() -> dict[str, StaticFile]:
    """Read the page and its files into memory, once, at the start."""
    folder = files("gateway") / "static" / "swagger"
    names = {_PAGE: "text/html", **_TYPES}
    return {name: StaticFile((folder / name).read_bytes(), kind) for name, kind in names.items()}


@route("GET", routes.HEALTH, area="service", also=(503,))
async def read_health(call: Call) -> Reply[Health]:
    """200 while the gateway can accept tasks, otherwise 503 with the reason.

    Needs no token. Paths of spools and files are shown only to an administrator's token.
    """
    health = await call.services.health.run(in_full=await is_administrator(call))
    return Reply(health, 503 if health.status == "failing" else 200)


@route("GET", routes.OPENAPI, area="service", media=Media("application/json", "the OpenAPI 3.1 document"))
async def read_openapi(call: Call) -> web.Response:
    """This document."""
    return web.Response(body=call.request.app[OPENAPI_DOCUMENT], content_type="application/json")


@route("GET", routes.DOCS, area="service", media=Media("text/html", "a page"))
async def read_docs(call: Call) -> web.Response:
    """A page with every address of the gateway, to read and to try."""
    return _send(call.request.app[SWAGGER_FILES][_PAGE])


@route("GET", routes.DOCS + "/{file_name}", area="service", errors=(404,), media=Media("*/*", "a file of the page"))
async def read_docs_file(call: Call, file_name: str) -> web.Response:
    """A file of that page."""
    if file_name not in _TYPES:
        raise web.HTTPNotFound
    return _send(call.request.app[SWAGGER_FILES][file_name])


def _send(file: StaticFile) -> web.Response:
    headers = {
        "Content-Security-Policy": f"default-src 'self'; img-src 'self' data:; {POLICY_OF_ALL}",
        "Cache-Control": "public, max-age=3600",
    }
    return web.Response(body=file.body, content_type=file.content_type, charset="utf-8", headers=headers)
