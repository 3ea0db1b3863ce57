"""Builds the gateway's web application from its services. Who serves it, and with which certificate, is `serve`'s."""

from aiohttp import web

from gateway.http.dispatch import add_route
from gateway.http.endpoints.meta import read_swagger_files
from gateway.http.endpoints.table import ROUTES
from gateway.http.keys import OPENAPI_DOCUMENT, SERVICES, SETTINGS, SWAGGER_FILES
from gateway.http.openapi import build_document
from gateway.http.problems import problems
from gateway.http.response_headers import name_request, secure_answer
from gateway.services.all_services import Services
from gateway.settings import GatewaySettings

__all__ = ["build_app"]

# Above our own limit for addresses, so that one that is too long still gets a problem document.
_MAX_LINE_BYTES = 64 * 1024
_MAX_FORM_BYTES = 64 * 1024


def build_app(services: Services, settings: GatewaySettings) -> web.Application:
    """Build the application. It owns nothing that must be closed; `services` stay their maker's."""
    app = web.Application(
        middlewares=[name_request, problems],
        client_max_size=_MAX_FORM_BYTES,
        handler_args={"max_line_size": _MAX_LINE_BYTES},
    )
    app[SERVICES] = services
    app[SETTINGS] = settings
    app[OPENAPI_DOCUMENT] = build_document(ROUTES)
    app[SWAGGER_FILES] = read_swagger_files()
    for route in ROUTES:
        add_route(app, route)
    app.on_response_prepare.append(secure_answer)
    return app
