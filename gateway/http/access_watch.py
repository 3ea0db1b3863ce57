"""Watches every request: where it comes from, what it is refused, and which guesses its address made."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.errors import GatewayError, TooManyError
from gateway.http.app_keys import SERVICES, SETTINGS
from gateway.http.client_address import find_address
from gateway.http.response_headers import ensure_request_id
from gateway.origin import Origin, current_origin, entered

__all__ = ["watch_access", "watching"]

# The key of an error, the event and the outcome in the security log.
_REFUSALS: Final[Mapping[str, tuple[str, str]]] = {
    "bad_login": ("login", "failed"),
    "too_many_logins": ("login", "limited"),
    "too_many_at_once": ("login", "busy"),
    "bad_token": ("token_refused", "refused"),
    "bad_credential": ("agent_refused", "refused"),
    "credential_revoked": ("agent_refused", "refused"),
    "bad_code": ("enrolment", "refused"),
    "code_expired": ("enrolment", "refused"),
    "spool_taken": ("enrolment", "refused"),
    "agent_exists": ("enrolment", "refused"),
}
_GUESSES: Final = frozenset({"bad_token", "bad_credential", "credential_revoked", "bad_code", "code_expired"})


@web.middleware
async def watch_access(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Handle a request with its origin known, and its refusal written down."""
    with watching(request):
        return await handler(request)


@contextmanager
def watching(request: web.Request) -> Iterator[None]:
    """The same for a block. A wrong token or code may become a TooManyError."""
    address = find_address(request, request.app[SETTINGS].trusted_proxies)
    resource = request.match_info.route.resource
    route = f"{request.method} {resource.canonical if resource else ''}"  # the path itself may have a secret in it
    with entered(Origin(address=address, request_id=ensure_request_id(request), route=route)):
        try:
            yield
        except GatewayError as error:
            _note_refusal(request, error)
            raise


def _note_refusal(request: web.Request, error: GatewayError) -> None:
    """Count a guess, raising TooManyError if there were too many. Write down what somebody was refused."""
    services, evidence = request.app[SERVICES], error.evidence
    if error.key in _GUESSES:
        try:
            services.guesses.add(current_origin().address)
        except TooManyError as limited:
            services.security.record("limit_reached", "limited", key=limited.key)
            raise limited from error
    event, outcome = _REFUSALS.get(error.key, ("", ""))
    if error.status == 429 and error.key != "too_many_logins":  # a lane's key is that of the logins' queue (503), too
        services.security.record("limit_reached", "limited", key=error.key)
    elif event:
        services.security.record(event, outcome, key=error.key, **evidence)
    elif error.status == 403 or (error.status == 404 and evidence):
        services.security.record("access_refused", "refused", key=error.key, **evidence)
