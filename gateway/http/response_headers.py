"""What every answer has: a request id, and the headers that protect browsers."""

import uuid

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.http.app_keys import REQUEST_ID

__all__ = ["ensure_request_id", "name_request", "secure_answer"]

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cache-Control": "no-store",
}


@web.middleware
async def name_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Add the request's id to everything that is logged while it is handled."""
    with structlog.contextvars.bound_contextvars(request_id=ensure_request_id(request)):
        return await handler(request)


async def secure_answer(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Set the headers of every answer; those of a handler override them."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "mltm-gateway"  # aiohttp's own says which versions run here
    if request.secure:
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    if isinstance(request, web.Request):
        response.headers["X-Request-Id"] = ensure_request_id(request)


def ensure_request_id(request: web.Request) -> str:
    """Our own id, never the client's: nobody else writes into our log."""
    if REQUEST_ID not in request:
        request[REQUEST_ID] = uuid.uuid4().hex
    return request[REQUEST_ID]
