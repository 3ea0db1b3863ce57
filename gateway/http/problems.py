"""Turns errors into RFC 9457 problem documents: the only broad `except` of the HTTP half is here."""

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.errors import DiskFullError, GatewayError, TooLargeError
from gateway.http.app_keys import find_request_id
from gateway.services.disk import is_disk_full
from mltm.contract.problems import CONTENT_TYPE, FieldProblem, Problem

__all__ = ["MAX_URL_CHARS", "answer_errors", "build_problem", "guard", "render_problem"]

MAX_URL_CHARS = 8190
_log = structlog.get_logger(__name__)


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error of a handler or of routing with a problem document."""
    if len(request.raw_path) > MAX_URL_CHARS:
        return render_problem(request, _TOO_LONG)
    return await guard(request, handler)


async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Run a handler; an error becomes its answer. A traceback goes to the log, never to the client."""
    try:
        return await handler(request)
    except GatewayError as error:
        if error.status >= 500:
            _log.warning("request_refused", key=error.key, status=error.status, detail=error.detail)
        return render_problem(request, error)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return render_problem(request, _translate(request, error), dict(error.headers))
    except ConnectionError:
        raise  # the client is gone: there is nobody to answer
    except Exception as error:  # noqa: BLE001 - the last resort; logged with its traceback
        if is_disk_full(error):
            _log.warning("request_refused", key=DiskFullError.key, status=507, detail=str(error))
            return render_problem(request, DiskFullError("The gateway's disk is full. Nothing of this was stored."))
        _log.exception("request_failed", method=request.method, path=request.path)
        return render_problem(request, _FAILED)


def render_problem(request: web.Request, error: GatewayError, headers: dict[str, str] | None = None) -> web.Response:
    """Render the problem document of an error."""
    problem = build_problem(error, find_request_id(request))
    response = web.Response(status=error.status, body=problem.model_dump_json().encode(), content_type=CONTENT_TYPE)
    if headers and "Allow" in headers:
        response.headers["Allow"] = headers["Allow"]
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="mltm"'
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(error.retry_after_s)
    if request.body_exists and not request.content.is_eof():
        response.force_close()  # nobody reads the rest of the body
    return response


def build_problem(error: GatewayError, request_id: str) -> Problem:
    """The document of an error. A request can quote bytes that are not text; they are shown escaped."""
    fields = [
        FieldProblem(**{name: _as_text(value) for name, value in field.model_dump().items()}) for field in error.fields
    ]
    return Problem(
        title=error.title,
        status=error.status,
        detail=_as_text(error.public_detail),
        key=error.key,
        next_step=_as_text(error.next_step),
        fields=fields,
        request_id=request_id,
    )


def _as_text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


_FAILED = GatewayError("The gateway failed on this request. Its log has the reason.")
_TOO_LONG = GatewayError(
    f"The address is longer than {MAX_URL_CHARS:,} characters.",
    status=414,
    key="url_too_long",
    title="Address too long",
    next_step="Send long values in the body.",
)


def _translate(request: web.Request, error: web.HTTPException) -> GatewayError:
    """Translate what aiohttp itself raises."""
    address = f"{request.method} {request.path[:200]}"
    match error.status:
        case 404:
            key, title, next_step = "route_not_found", "No such address", "See /docs for every address of this gateway."
            detail = f"This gateway has no {address}."
        case 405:
            key, title = "method_not_allowed", "Method not allowed"
            detail = f"{address} is not possible. Allowed methods: {error.headers.get('Allow', '')}."
            next_step = "See /docs for every address and its methods."
        case 413:
            return TooLargeError(f"The body of {address} is larger than allowed.")
        case _:
            key, title, next_step = "bad_request", "The request cannot be read", "Compare your request with /docs."
            detail = f"{address}: {error.reason}."
    return GatewayError(detail, status=error.status, key=key, title=title, next_step=next_step)
