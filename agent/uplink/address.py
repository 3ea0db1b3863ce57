"""Finds the gateway's address, the proxy on the way to it, and the certificates that are trusted."""

import ipaddress
import re
import ssl
import urllib.request
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from agent.errors import GatewayAwayError, SettingsError
from agent.settings import AgentSettings
from agent.spool.spool_key import read_spool_key
from agent.uplink.credential import read_credential
from mltm.contract.proofs import parse_address
from mltm.contract.spool_layout import Spool
from mltm.runtime import files

__all__ = ["Tls", "build_tls", "check_gateway_url", "read_gateway_url", "read_proxy"]

Tls: TypeAlias = ssl.SSLContext | bool
"""A context with the site's own CA, or True for the system's."""
_MAX_ADDRESS_BYTES = 16 * 1024


def read_gateway_url(settings: AgentSettings) -> str:
    """Read the gateway's address: the config's, else a proved one in the inbox, else that of the enrolment.

    A file without the gateway's proof is never followed: the credential would go to whoever wrote it. Raises
    GatewayAwayError, SettingsError, SpoolError.
    """
    may_be_plain = settings.allow_plain_http
    if settings.gateway_url is not None:
        return check_gateway_url(settings.gateway_url, "gateway_url in the config: ", may_be_plain=may_be_plain)
    proved = _read_proved(settings)
    if proved is not None:
        where = f"{settings.inbox_folder.address}: "
        return check_gateway_url(proved, where, may_be_plain=may_be_plain)
    enrolled_at = read_credential(settings.credential_file).gateway_url
    if not enrolled_at:
        raise GatewayAwayError(
            "The gateway's address is not known. Set gateway_url in the config, or enrol this agent again."
        )
    return check_gateway_url(enrolled_at, f"{settings.credential_file}: ", may_be_plain=may_be_plain)


def _read_proved(settings: AgentSettings) -> str | None:
    """The address in the inbox; None if there is none, or the spool has no key to judge it with."""
    spool, path = Spool(settings.spool), settings.inbox_folder.address
    key = read_spool_key(spool)
    if key is None:
        return None
    try:
        raw, spool_id = files.read_bytes(path, _MAX_ADDRESS_BYTES), files.read_bytes(spool.spool_id, 200)
    except OSError as error:
        raise GatewayAwayError(f"Cannot read {path}: {error.strerror}.") from error
    if raw is None:
        return None
    try:
        return parse_address(raw, (spool_id or b"").decode(errors="replace").strip(), key)
    except ValueError as error:
        raise GatewayAwayError(
            f"{path} is not followed: {error}. Find out who wrote it, and remove it; the gateway writes its own at its "
            "next start."
        ) from error


def check_gateway_url(url: str, where: str = "", *, may_be_plain: bool = False) -> str:
    """Return the address without its last slash. Raises SettingsError, which begins with `where`, if it is not one.

    may_be_plain: unencrypted http is fine off this host, too.
    """
    if not _is_address(url):
        shown = re.sub(r"//.*@", "//…@", url[:200])  # no password in a log
        raise SettingsError(
            f"{where}{shown!r} is not the address of a gateway.",
            next_step="It looks like https://gateway.example.org:8008",
        )
    if not may_be_plain and not _is_safe(url):
        raise SettingsError(
            f"{where}{url} is not encrypted, and this agent's credential would travel over the network as it is.",
            next_step="Give the gateway a certificate (docs/certificates.md) and use https. If the network between is "
            "trusted, set allow_plain_http = true in the agent's config.",
        )
    return url.rstrip("/")


def _is_safe(url: str) -> bool:
    """True for https, and for http that does not leave this host."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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
