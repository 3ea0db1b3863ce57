"""The keys of what a request finds in the application, and of what is kept with a request."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from gateway.http.users_load import UsersLoad
from gateway.services.all_services import Services
from gateway.services.disk import UploadRoom
from gateway.settings import GatewaySettings

__all__ = [
    "OPENAPI_DOCUMENT", "REQUEST_ID", "SERVICES", "SETTINGS", "SWAGGER_FILES", "UPLOAD_ROOM", "USERS_LOAD",
    "StaticFile", "find_request_id",
]  # fmt: skip


@dataclass(frozen=True)
class StaticFile:
    """A file in memory that is served as it is."""

    body: bytes
    content_type: str


SERVICES: Final = web.AppKey("services", Services)
SETTINGS: Final = web.AppKey("settings", GatewaySettings)
UPLOAD_ROOM: Final = web.AppKey("upload_room", UploadRoom)
USERS_LOAD: Final = web.AppKey("users_load", UsersLoad)
OPENAPI_DOCUMENT: Final = web.AppKey("openapi_document", bytes)
SWAGGER_FILES: Final = web.AppKey("swagger_files", Mapping[str, StaticFile])
REQUEST_ID: Final = web.RequestKey("request_id", str)


def find_request_id(request: web.Request) -> str:
    """Find the id of this request in answers and logs; empty if it has none yet."""
    found: str = request.get(REQUEST_ID, "")
    return found
