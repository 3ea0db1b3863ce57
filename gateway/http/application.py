"""Builds the gateway's aiohttp application: framework, endpoints and services together. `gateway.serve` serves it."""

from aiohttp import web

from gateway.http.access_watch import watch_access
from gateway.http.app_keys import (
    OPENAPI_DOCUMENT,
    SERVICES,
    SETTINGS,
    SWAGGER_FILES,
    UPLOAD_ROOM,
    USERS_LOAD,
)
from gateway.http.dispatch import add_route
from gateway.http.endpoints.health_and_docs import read_swagger_files
from gateway.http.endpoints.route_table import ROUTES
from gateway.http.openapi import build_document
from gateway.http.problems import answer_errors
from gateway.http.response_headers import name_request, secure_answer
from gateway.http.users_load import UsersLoad
from gateway.services.all_services import Services
from gateway.services.disk import UploadRoom
from gateway.settings import GatewaySettings

__all__ = ["build_app"]

_MAX_FORM_BYTES = 64 * 1024


def build_app(services: Services, settings: GatewaySettings) -> web.Application:
    """Build the application. It owns nothing that must be closed; the caller closes `services`."""
    app = web.Application(
        middlewares=[name_request, answer_errors, watch_access],
        client_max_size=_MAX_FORM_BYTES,
    )
    app[SERVICES] = services
    app[SETTINGS] = settings
    app[UPLOAD_ROOM] = UploadRoom(settings.data_dir, settings.min_free_bytes)
    app[USERS_LOAD] = UsersLoad(settings)
    app[OPENAPI_DOCUMENT] = build_document(ROUTES)
    app[SWAGGER_FILES] = read_swagger_files()
    for route in ROUTES:
        add_route(app, route)
    app.on_response_prepare.append(secure_answer)
    return app
