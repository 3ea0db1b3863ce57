"""Which proxy the environment names for an address, as curl and requests read it. Pure.

http_proxy, https_proxy and all_proxy (in lower or upper case) with or without a scheme; no_proxy with names, addresses,
networks (CIDR), ports and `*`. This machine's own addresses are never asked of a proxy.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

__all__ = ["Proxy", "ProxyError", "find_proxy", "is_loopback"]

_PORTS = {"http": 80, "https": 443}
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ProxyError(ValueError):
    """A variable that names no usable proxy. `next_step` says what to do."""

    def __init__(self, message: str, next_step: str) -> None:
        super().__init__(message)
        self.next_step = next_step


@dataclass(frozen=True)
class Proxy:
    """A proxy's address (perhaps with a password in it), and the variable that names it."""

    url: str
    variable: str

    @property
    def host(self) -> str:
        """Host and port, for messages."""
        return self.url.partition("://")[2].rpartition("@")[2]

    def __repr__(self) -> str:
        return f"Proxy({self.host!r}, {self.variable!r})"


def find_proxy(url: str, env: Mapping[str, str]) -> Proxy | None:
    """Find the proxy for an http or https address. None: connect directly. Raises ProxyError."""
    parts = _split(url)
    host = _normalise(parts.hostname or "") if parts else ""
    if parts is None or not host or is_loopback(host):
        return None
    port = parts.port or _PORTS.get(parts.scheme, 0)
    if any(_names(entry, host, port) for entry in re.split(r"[,\s]+", _read(env, "no_proxy")[1])):
        return None
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        variable, value = _read(env, name)
        if value:
            return Proxy(_parse_proxy(variable, value), variable)
    return None


def is_loopback(host: str) -> bool:
    """True for names and addresses of this machine itself."""
    name = _normalise(host)
    address = _parse_address(name)
    if address is None:
        return name == "localhost" or name.endswith(".localhost")
    return address.is_loopback


def _split(url: str) -> SplitResult | None:
    """Split an address; None if it is not one, which those say who connect."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def _read(env: Mapping[str, str], name: str) -> tuple[str, str]:
    """Find a variable: lower case first. HTTP_PROXY is a header of the request inside a CGI program (httpoxy)."""
    if name in env:
        return name, env[name].strip()
    upper = name.upper()
    if upper == "HTTP_PROXY" and "REQUEST_METHOD" in env:
        return name, ""
    return upper, env.get(upper, "").strip()


def _parse_proxy(variable: str, value: str) -> str:
    """Complete the scheme and check the rest."""
    whole = value if "://" in value else f"http://{value}"
    shown = re.sub(r"(//|^)[^/]*@", r"\1…@", value[:200])  # no password on a screen
    example = "It looks like http://proxy.example.org:3128, or http://name:password@…, with %40 for @ in a password."
    parts = _split(whole)
    if parts is None or not parts.hostname or not whole.isprintable() or " " in whole:
        raise ProxyError(f"{variable} does not name a proxy: {shown!r}.", example)
    if parts.scheme not in _PORTS:
        raise ProxyError(
            f"{variable} names a proxy for {parts.scheme}, which cannot be used: {shown!r}.",
            "Set http_proxy or https_proxy to an HTTP proxy, or name the gateway in no_proxy.",
        )
    return f"{parts.scheme}://{parts.netloc}"


def _names(entry: str, host: str, port: int) -> bool:
    """True if an entry of no_proxy names this host, and this port if it has one."""
    if entry == "*":
        return True
    plain, wanted_port = _cut_port(entry.lower())
    if not plain or wanted_port not in (None, port):
        return False
    address = _parse_address(host)
    if address is not None:
        return _holds(plain, address)
    name = _normalise(plain.removeprefix("*").lstrip("."))
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _holds(entry: str, address: Address) -> bool:
    """True if the entry is this address, or a network that it belongs to."""
    try:
        network = ipaddress.ip_network(entry.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return False
    return address.version == network.version and address in network


def _cut_port(entry: str) -> tuple[str, int | None]:
    """Cut the port off `host:port` and `[IPv6]:port`."""
    found = re.fullmatch(r"(\[[^\]]*\]|[^:]*):(\d{1,5})", entry)
    return (found[1], int(found[2])) if found else (entry, None)


def _normalise(host: str) -> str:
    """Lower case, no dot at the end, and a name beyond ASCII as the name service has it."""
    plain = host.lower().rstrip(".")
    try:
        return plain if plain.isascii() else plain.encode("idna").decode("ascii")
    except UnicodeError:
        return plain


def _parse_address(host: str) -> Address | None:
    """Read an IP address. An IPv4 address within IPv6 is the IPv4 address."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
