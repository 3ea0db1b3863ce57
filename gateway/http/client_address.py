"""From which address a request comes: the only place that reads X-Forwarded-For.

Anybody can send that header. It counts if the peer is a trusted proxy: then the last address that is not itself a
trusted proxy's is the client, because every proxy adds the address that it saw at the end.
"""

import ipaddress
from collections.abc import Sequence

from aiohttp import hdrs, web

__all__ = ["find_address"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_MAX_HOPS = 20


def find_address(request: web.BaseRequest, trusted: Sequence[Network]) -> str:
    """Find the client's address; empty if there is none (a Unix socket)."""
    address = _parse(request.remote or "")
    if address is None:
        return ""
    for text in _list_forwarded(request):
        if not any(address in network for network in trusted):
            break
        earlier = _parse(text)
        if earlier is None:
            break
        address = earlier
    return str(address)


def _list_forwarded(request: web.BaseRequest) -> list[str]:
    """The addresses in the header, the last one first."""
    whole = ",".join(request.headers.getall(hdrs.X_FORWARDED_FOR, []))
    return [text.strip() for text in whole.rsplit(",", _MAX_HOPS)[::-1]][:_MAX_HOPS]


def _parse(text: str) -> Address | None:
    """Parse an address, perhaps with a port (some proxies add it). IPv4 inside IPv6 is IPv4."""
    host = text
    if text.startswith("["):
        host = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        host = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
