"""The client's address: the peer's, or what a trusted proxy says of it. Everything else in that header is a claim."""

import ipaddress

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from gateway.http.client_address import find_address

TRUSTED = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "fd00::/8", "192.0.2.1/32")]


class Peer:
    """A transport of which only the other end is known."""

    def __init__(self, address: str) -> None:
        self.address = address

    def get_extra_info(self, name: str, default: object = None) -> object:
        return (self.address, 4711) if name == "peername" else default


CASES = [
    ("198.51.100.7", [], "198.51.100.7"),
    ("198.51.100.7", ["203.0.113.9"], "198.51.100.7"),
    ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
    ("10.0.0.1", [], "10.0.0.1"),
    ("10.0.0.1", ["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
    ("10.0.0.1", ["1.1.1.1", "203.0.113.9"], "203.0.113.9"),
    ("10.0.0.1", ["203.0.113.9, 10.0.0.2, 192.0.2.1"], "203.0.113.9"),
    ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
    ("10.0.0.1", ["203.0.113.9, garbage, 10.0.0.2"], "10.0.0.2"),
    ("10.0.0.1", ["garbage"], "10.0.0.1"),
    ("10.0.0.1", [""], "10.0.0.1"),
    ("10.0.0.1", ["203.0.113.9:1234"], "203.0.113.9"),
    ("10.0.0.1", ["[2001:db8::1]:443"], "2001:db8::1"),
    ("10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
    ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
    ("fd00::1", ["::ffff:203.0.113.9"], "203.0.113.9"),
    ("fe80::1%eth0", ["203.0.113.9"], "fe80::1"),
    ("10.0.0.1", [", ".join(["203.0.113.9"] * 5000)], "203.0.113.9"),
    ("10.0.0.1", [", ".join(["10.0.0.9"] * 5000)], "10.0.0.9"),
    ("", ["203.0.113.9"], ""),
]


@pytest.mark.parametrize(("peer", "forwarded", "address"), CASES)
def test_a_header_counts_only_from_a_trusted_proxy(peer: str, forwarded: list[str], address: str) -> None:
    headers = CIMultiDict([("X-Forwarded-For", text) for text in forwarded])
    request = make_mocked_request("GET", "/", headers=headers, transport=Peer(peer))

    assert find_address(request, TRUSTED) == address


def test_nobody_is_trusted_by_default() -> None:
    headers = CIMultiDict([("X-Forwarded-For", "203.0.113.9")])
    request = make_mocked_request("GET", "/", headers=headers, transport=Peer("127.0.0.1"))

    assert find_address(request, []) == "127.0.0.1"
