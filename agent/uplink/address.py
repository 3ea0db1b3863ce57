"""Finds the gateway's address, the proxy on the way to it, and the certificates that are trusted."""

import ipaddress
import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from agent.errors import GatewayAwayError, SettingsError
from agent.settings import AgentSettings
from agent.spool.spool_key import read_spool_key
from agent.uplink.credential import read_credential
from mltm.contract.proofs import parse_address
from mltm.contract.spool_layout import Spool
from mltm.network.authorities import AuthoritiesError, load_authorities
from mltm.network.proxies import Proxy, ProxyError, find_proxy
from mltm.runtime import files

__all__ = ["Tls", "build_tls", "check_gateway_url", "read_gateway_url", "read_proxy"]

Tls: TypeAlias = ssl.SSLContext | bool
"""A context with the trusted authorities, or True for aiohttp's own."""
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


def read_proxy(url: str, environment: Mapping[str, str] = os.environ) -> Proxy | None:
    """Read the proxy for an address from the environment; None for none. Raises SettingsError.

    aiohttp's own trust_env also reads ~/.netrc and then refuses every call with an Authorization header (3.14).
    """
    try:
        return find_proxy(url, environment)
    except ProxyError as error:
        raise SettingsError(str(error), next_step=error.next_step) from error


def build_tls(ca_file: Path | None, environment: Mapping[str, str] = os.environ) -> Tls:
    """Trust the site's own CA file, else what the environment names, else the system's. Raises SettingsError."""
    try:
        return load_authorities(ca_file, "ca_file", environment).context
    except AuthoritiesError as error:
        step = "Name a PEM file of the CA: ca_file in the agent's config, or unset the variable."
        raise SettingsError(str(error), next_step=step) from error
