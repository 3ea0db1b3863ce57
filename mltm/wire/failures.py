"""Explains an exception of the HTTP library to a person: which host or proxy, what is wrong, what to do."""

import hashlib
import os
import re
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
import yarl

from mltm.contract.problems import Problem, explain_strictness
from mltm.network.proxies import Proxy
from mltm.wire.errors import MltmError, UnreachableError, build_error

__all__ = ["Way", "explain_failure", "is_temporary", "read_fingerprint"]

_CA_HINT = "Give the certificate of the authority that signed it: --ca FILE, MLTM_CA, or ca_file= in Python."

_AWAY = "Is the gateway running, and is the address right? It is set by `mltm login`, --url or MLTM_URL."


def is_temporary(error: Exception) -> bool:
    """True if the same request may succeed soon."""
    return not isinstance(error, aiohttp.ClientSSLError | aiohttp.InvalidURL)


@dataclass(frozen=True)
class Way:
    """How the gateway is reached: a proxy, the authorities that are trusted, the certificate's fingerprint if known."""

    proxy: Proxy | None = None
    trusted: str = ""
    fingerprint: str = ""


def explain_failure(error: Exception, url: str, way: Way) -> MltmError:
    """Explain why no answer came from `url`."""
    where = _read_host(url)
    if way.proxy is not None and (explained := _explain_proxy(error, where, way.proxy)):
        return explained
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return _explain_certificate(error.certificate_error, url, way)
        case aiohttp.ClientSSLError():
            return build_error(
                "tls_failed", f"{where} does not speak TLS as expected ({error.os_error}).",
                "If the gateway has no certificate, use http:// in its address.",
            )  # fmt: skip
        case aiohttp.InvalidURL():
            shown = re.sub(r"//.*@", "//…@", url[:200])  # no password on a screen
            return build_error(
                "bad_address", f"{shown!r} is not a gateway's address.", "An address looks like https://host:8008.",
                status=400,
            )  # fmt: skip
        case aiohttp.ClientConnectorDNSError():
            return build_error("unknown_host", f"The host name in {where} cannot be resolved.", _AWAY)
        case aiohttp.ClientConnectorError():
            # asyncio puts "Connect call failed ('127.0.0.1', 8008)" where the system's message should be.
            number = error.os_error.errno
            message = os.strerror(number) if number else str(error.os_error)
            return build_error("gateway_away", f"Cannot connect to the gateway at {where} ({message}).", _AWAY)
        case TimeoutError():
            return build_error("gateway_slow", f"The gateway at {where} did not answer in time.", _AWAY)
        case _:
            return build_error("connection_lost", f"The connection to the gateway at {where} broke ({error}).", _AWAY)


def _read_host(url: str) -> str:
    try:
        return urlsplit(url).netloc or url
    except ValueError:
        return url


def _explain_proxy(error: Exception, where: str, proxy: Proxy) -> MltmError | None:
    """Explain a failure of the proxy itself; None if it is the gateway's."""
    step = f"The proxy is set by {proxy.variable}. If none is needed for the gateway, name its host in no_proxy."
    match error:
        case aiohttp.ClientHttpProxyError():
            message = f"The proxy {proxy.host} answered {error.status} {error.message}".rstrip()
            if error.status == 407:
                step = f"Put your name and password for it into {proxy.variable}: http://name:password@host:port"
            return build_error("proxy_refused", f"{message} when it was asked for {where}.", step)
        case aiohttp.ClientConnectorDNSError() if error.host == yarl.URL(proxy.url).host:
            return build_error("proxy_away", f"The host name of the proxy {proxy.host} cannot be resolved.", step)
        case aiohttp.ClientProxyConnectionError():
            message = os.strerror(error.os_error.errno) if error.os_error.errno else str(error.os_error)
            return build_error("proxy_away", f"Cannot connect to the proxy {proxy.host} ({message}).", step)
        case _:
            return None


def _explain_certificate(error: Exception, url: str, way: Way) -> MltmError:
    where = _read_host(url)
    message = getattr(error, "verify_message", "") or str(error)
    which = f" Its SHA-256 fingerprint is {way.fingerprint}." if way.fingerprint else ""
    which += f" The authorities of {way.trusted} are trusted, and no others." if way.trusted else ""
    problem = Problem(
        title="certificate not trusted", status=0, key="tls_untrusted",
        next_step=explain_strictness(error, url) or _CA_HINT,
        detail=f"The certificate shown by {where} is not trusted: {message}.{which}",
    )  # fmt: skip
    return UnreachableError(problem)


def read_fingerprint(url: str, timeout_s: float = 5.0) -> str:
    """Fetch the SHA-256 of the certificate that a host shows, so that a person can compare it. "" if that fails."""
    parts = urlsplit(url)
    try:
        pem = ssl.get_server_certificate((parts.hostname or "", parts.port or 443), timeout=timeout_s)
    except (OSError, socket.gaierror, ValueError):
        return ""
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
    return ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))
