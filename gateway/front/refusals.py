"""Answers to what never became a request: a broken or endless header, no room. Problem documents, as everywhere."""

from http import HTTPStatus

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from gateway.errors import GatewayError, TooManyError, UnavailableError
from gateway.front.pace import MAX_HEADER_BYTES
from gateway.http.problems import build_problem
from gateway.http.response_headers import build_headers, new_request_id
from mltm.contract.problems import CONTENT_TYPE

__all__ = [
    "ADDRESS_IS_FULL", "GATEWAY_IS_FULL", "HEADER_TOO_LARGE", "SLOW_HEADER", "UNKNOWN_EXPECTATION", "URL_TOO_LONG",
    "build_slow_body", "explain_broken", "render_bytes", "render_response",
]  # fmt: skip

_RETRY_S = 5
_COMPARE = "Let curl or an HTTP library build the request."

SLOW_HEADER = GatewayError(
    "The header of the request did not come in time.",
    status=408, key="slow_request", title="Too slow", next_step="Send the request again, without a pause in it.",
)  # fmt: skip
HEADER_TOO_LARGE = GatewayError(
    f"The header of the request is larger than {MAX_HEADER_BYTES:,} bytes, or one of its fields is too long.",
    status=431, key="header_too_large", title="Header too large", next_step="Send fewer and shorter header fields.",
)  # fmt: skip
URL_TOO_LONG = GatewayError(
    f"The first line of the request is longer than {MAX_HEADER_BYTES:,} bytes.",
    status=414, key="url_too_long", title="Address too long", next_step="Send long values in the body.",
)  # fmt: skip
UNKNOWN_EXPECTATION = GatewayError(
    "The only supported value of Expect is 100-continue.",
    status=417, key="unknown_expectation", title="Unknown expectation", next_step="Leave out the header Expect.",
)  # fmt: skip
ADDRESS_IS_FULL = TooManyError(
    "Your address has too many connections that all wait for an answer.",
    key="too_many_connections", title="Too many connections", retry_after_s=_RETRY_S,
    next_step="Use fewer connections. Behind a proxy, the administrator raises max_connections_per_address.",
)  # fmt: skip
GATEWAY_IS_FULL = UnavailableError(
    "The gateway has as many connections as it can have.",
    key="too_many_connections", retry_after_s=_RETRY_S, next_step="Try again in a few seconds.",
)  # fmt: skip


def build_slow_body() -> GatewayError:
    """The body of a request comes too slowly. A new error each time: it is raised, and gets a traceback."""
    return GatewayError(
        "The body of the request came too slowly. Nothing of it was stored.",
        status=408, key="slow_body", title="Too slow",
        next_step="Send it again (with the same Idempotency-Key), over a faster line or in smaller files.",
    )  # fmt: skip


def explain_broken(exc: BaseException | None) -> GatewayError:
    """Explain what the parser refused; its own message can quote the request, and is not repeated."""
    if isinstance(exc, LineTooLong):
        return HEADER_TOO_LARGE
    return GatewayError(
        "This is not a valid HTTP/1.1 request: its first line, a header field or the framing of its body is wrong.",
        status=400, key="broken_request", title="The request cannot be read", next_step=_COMPARE,
    )  # fmt: skip


def render_response(error: GatewayError, *, is_secure: bool) -> web.Response:
    """Render the answer for a request that has no route. The connection ends after it."""
    request_id = new_request_id()
    body = build_problem(error, request_id).model_dump_json().encode()
    headers = build_headers(is_secure=is_secure, request_id=request_id)
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    response = web.Response(status=error.status, body=body, headers=headers, content_type=CONTENT_TYPE)
    response.force_close()
    return response


def render_bytes(error: GatewayError, *, is_secure: bool) -> bytes:
    """Render the whole answer, for a connection on which no request has begun."""
    response = render_response(error, is_secure=is_secure)
    fields = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}"]
    fields += [f"{name}: {value}" for name, value in response.headers.items()]
    fields += [f"Content-Length: {response.content_length}", "Connection: close", "", ""]
    body = response.body
    assert isinstance(body, bytes)
    return "\r\n".join(fields).encode() + body
