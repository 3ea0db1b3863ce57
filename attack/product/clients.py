"""Clients at an address of their own: all of 127.0.0.0/8 is this machine, and the gateway tells them apart."""

import http.client
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Reply", "ask_from", "log_in_from"]


@dataclass(frozen=True)
class Reply:
    """An answer; status 0: the connection was ended without one."""

    status: int
    text: str


def ask_from(
    address: str, url: str, method: str, path: str, *, body: str = "", headers: Mapping[str, str] | None = None,
    within_s: float = 60.0,
) -> Reply:  # fmt: skip
    """Ask on a new connection."""
    place = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(
        str(place.hostname), place.port, timeout=within_s, source_address=(address, 0)
    )
    try:
        connection.request(method, path, body=body or None, headers=dict(headers or {}))
        answer = connection.getresponse()
        return Reply(answer.status, answer.read().decode(errors="replace"))
    except (OSError, http.client.HTTPException) as error:
        return Reply(0, str(error))
    finally:
        connection.close()


def log_in_from(address: str, url: str, username: str, password: str) -> Reply:
    """Log in with a form, as the page does."""
    body = urllib.parse.urlencode({"username": username, "password": password})
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    return ask_from(address, url, "POST", "/auth/login", body=body, headers=form)
