"""Finds the gateway's address, the proxy on the way to it, and the certificates that are trusted."""

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
    """Read the gateway's address: the config's, else `<spool>/gateway.url`. Raises GatewayAwayError, SettingsError."""
    path = Spool(settings.spool).gateway_url
    if settings.gateway_url is not None:
        return check_gateway_url(settings.gateway_url, "gateway_url in the config: ")
    try:
        raw = files.read_bytes(path, max_bytes=4096)
    except OSError as error:
        raise GatewayAwayError(f"Cannot read {path}: {error.strerror}.") from error
    if raw is None:
        raise GatewayAwayError(f"The gateway is not up: there is no {path}, and the config has no gateway_url.")
    return check_gateway_url(raw.decode(errors="replace").strip(), f"{path}: ")


def check_gateway_url(url: str, where: str = "") -> str:
    """Return the address without its last slash. Raises SettingsError, which begins with `where`, if it is not one."""
    if not _is_address(url):
        shown = re.sub(r"//.*@", "//…@", url[:200])  # no password in a log
        raise SettingsError(
            f"{where}{shown!r} is not the address of a gateway.",
            next_step="It looks like https://gateway.example.org:8008",
        )
    return url.rstrip("/")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a broken [IPv6] host, or a port that is not a number
        return False
    is_plain = url.isprintable() and " " not in url and "@" not in parts.netloc and not parts.query
    return is_whole and is_plain and parts.scheme in {"http", "https"}


def read_proxy(url: str) -> str | None:
    """Read the proxy for an address from http_proxy, https_proxy and no_proxy; None for none.

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
            f"ca_file: cannot read certificates from {ca_file}: {error}.", next_step="Name a PEM file of the CA."
        ) from error
