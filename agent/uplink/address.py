"""Where the gateway is, by which proxy it is reached, and which certificates are trusted."""

import re
import ssl
import urllib.request
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from agent.errors import GatewayAwayError, SettingsError
from agent.settings import AgentSettings
from mltm.contract.spool_layout import Spool
from mltm.runtime import files

__all__ = ["Tls", "build_tls", "check_gateway_url", "read_gateway_url", "read_proxy"]

Tls: TypeAlias = ssl.SSLContext | bool
"""A context with the site's own CA, or True for the system's."""


def read_gateway_url(settings: AgentSettings) -> str:
    """Read where the gateway is: the config, else `<spool>/gateway.url`. Raises GatewayAwayError, SettingsError."""
    place = Spool(settings.spool).gateway_url
    if settings.gateway_url is not None:
        return check_gateway_url(settings.gateway_url, "gateway_url in the config: ")
    try:
        raw = files.read_bytes(place, max_bytes=4096)
    except OSError as error:
        raise GatewayAwayError(f"{place} cannot be read: {error.strerror}.") from error
    if raw is None:
        raise GatewayAwayError(f"The config names no gateway_url, and there is no {place}: the gateway is not up.")
    return check_gateway_url(raw.decode(errors="replace").strip(), f"{place}: ")


def check_gateway_url(url: str, where: str = "") -> str:
    """Return the address without a last slash. Raises SettingsError where it is none; `where` stands before it."""
    if not _is_address(url):
        shown = re.sub(r"//.*@", "//…@", url[:200])  # a password has no place in a log
        raise SettingsError(
            f"{where}{shown!r} is no address of a gateway.", next_step="It looks like https://gateway.example.org:8008"
        )
    return url.rstrip("/")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a broken [IPv6] host, or a port that is no number
        return False
    is_plain = url.isprintable() and " " not in url and "@" not in parts.netloc and not parts.query
    return is_whole and is_plain and parts.scheme in {"http", "https"}


def read_proxy(url: str) -> str | None:
    """Read the proxy for an address from http_proxy, https_proxy and no_proxy.

    aiohttp's own trust_env also reads ~/.netrc and then refuses every call with an Authorization header (3.14).
    """
    parts = urlsplit(url)
    if parts.hostname is None or urllib.request.proxy_bypass(parts.hostname):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def build_tls(ca_file: Path | None) -> Tls:
    """Trust the site's own CA file, or the system's (True). Raises SettingsError."""
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"ca_file: {ca_file} holds no certificates: {error}.", next_step="Name a PEM file of the CA."
        ) from error
