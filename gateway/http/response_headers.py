"""What every answer has: a request id, and the headers that protect browsers."""

import uuid

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from multidict import CIMultiDict

from gateway.http.app_keys import REQUEST_ID

__all__ = ["POLICY_OF_ALL", "build_headers", "ensure_request_id", "name_request", "new_request_id", "secure_answer"]

POLICY_OF_ALL = "base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
"""What every Content-Security-Policy of ours has: `default-src` says nothing of the first two."""

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": f"default-src 'none'; {POLICY_OF_ALL}; sandbox",
    "Cache-Control": "no-store",
}


@web.middleware
async def name_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Add the request's id to everything that is logged while it is handled."""
    with structlog.contextvars.bound_contextvars(request_id=ensure_request_id(request)):
        return await handler(request)


async def secure_answer(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Set the headers of every answer; those of a handler override them."""
    request_id = ensure_request_id(request) if isinstance(request, web.Request) else new_request_id()
    _add(response.headers, is_secure=request.secure, request_id=request_id)


def build_headers(*, is_secure: bool, request_id: str) -> CIMultiDict[str]:
    """The headers of an answer that no handler made."""
    headers: CIMultiDict[str] = CIMultiDict()
    _add(headers, is_secure=is_secure, request_id=request_id)
    return headers


def new_request_id() -> str:
    """A new id for a request, in answers and logs."""
    return uuid.uuid4().hex


def _add(headers: CIMultiDict[str], *, is_secure: bool, request_id: str) -> None:
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    headers["Server"] = "mltm-gateway"  # aiohttp's own says which versions run here
    if is_secure:
        headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    headers["X-Request-Id"] = request_id


def ensure_request_id(request: web.Request) -> str:
    """Our own id, never the client's: nobody else writes into our log."""
    if REQUEST_ID not in request:
        request[REQUEST_ID] = new_request_id()
    return request[REQUEST_ID]
