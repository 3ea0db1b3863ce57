"""Fault 3.13: a proxy as sites set it was blamed on the gateway's address, and no_proxy was half understood.

A user or operator whose curl and pip reach the world expects that mltm and the agent do, with the same variables: the
scheme may be left out, networks, ports, dots and `*` count in no_proxy, all_proxy is the last resort, and what runs on
this very machine is never asked of a proxy. A wrong variable is named, without its password.
"""

import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from agent.errors import GatewayAwayError, SettingsError
from agent.uplink.address import read_proxy
from mltm.client import Client
from mltm.contract.agent_api import ReportBatch
from mltm.network.proxies import ProxyError, find_proxy
from mltm.notebook import SyncClient
from mltm.wire.errors import MltmError, UnreachableError
from mltm.wire.retry_policy import RetryPolicy
from tests.agent.uplink.build import UplinkKit
from tests.mltm.cli.run import Mltm
from tests.mltm.client.build import INSTANT
from tests.mltm.client.fake_gateway import TOKEN, FakeGateway

P = "http://p:3128"
FAR = "https://gateway.example.org:8008"
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def both(no_proxy: str) -> dict[str, str]:
    return {"https_proxy": P, "http_proxy": P, "no_proxy": no_proxy}


# address, environment, the proxy that is right (None: none)
CASES: dict[str, tuple[str, Mapping[str, str], str | None]] = {
    "no scheme, as curl takes it": (FAR, {"https_proxy": "p:3128"}, P),
    "no scheme, with a password": (FAR, {"https_proxy": "ada:pw@p:3128"}, "http://ada:pw@p:3128"),
    "an encoded password": (FAR, {"https_proxy": "http://ada:p%40w@p:3128/"}, "http://ada:p%40w@p:3128"),
    "no port": (FAR, {"https_proxy": "p"}, "http://p"),
    "an address as proxy": (FAR, {"https_proxy": "10.1.2.3:3128"}, "http://10.1.2.3:3128"),
    "an IPv6 address as proxy": (FAR, {"https_proxy": "[fd00::1]:3128"}, "http://[fd00::1]:3128"),
    "a proxy of TLS": (FAR, {"https_proxy": "https://p:3128"}, "https://p:3128"),
    "white space around": (FAR, {"https_proxy": f" {P}\n"}, P),
    "upper case": (FAR, {"HTTPS_PROXY": P}, P),
    "lower case first": (FAR, {"HTTPS_PROXY": "http://other", "https_proxy": P}, P),
    "lower case empty": (FAR, {"HTTPS_PROXY": P, "https_proxy": ""}, None),
    "the other scheme's": (FAR, {"http_proxy": P}, None),
    "plain http": ("http://gateway.example.org", {"http_proxy": P}, P),
    "httpoxy: a CGI program's header": ("http://g.example.org", {"HTTP_PROXY": P, "REQUEST_METHOD": "GET"}, None),
    "all_proxy": (FAR, {"all_proxy": "p:3128"}, P),
    "ALL_PROXY": ("http://g.example.org", {"ALL_PROXY": P}, P),
    "all_proxy comes last": (FAR, {"all_proxy": "socks5://s:1080", "https_proxy": P}, P),
    "all_proxy with no_proxy": (FAR, {"all_proxy": P, "no_proxy": "example.org"}, None),
    "nothing": (FAR, {}, None),
    "no_proxy: the very name": (FAR, both("gateway.example.org"), None),
    "no_proxy: the domain": (FAR, both("example.org"), None),
    "no_proxy: a leading dot": (FAR, both(".example.org"), None),
    "no_proxy: a leading dot names the domain too": ("https://example.org", both(".example.org"), None),
    "no_proxy: a star and a dot": (FAR, both("*.example.org"), None),
    "no_proxy: half a name": (FAR, both("ample.org"), P),
    "no_proxy: upper case": (FAR, both("Gateway.EXAMPLE.org"), None),
    "NO_PROXY": (FAR, {"https_proxy": P, "NO_PROXY": "example.org"}, None),
    "no_proxy: a dot at the end of the host": ("https://gateway.example.org.:8008", both("example.org"), None),
    "no_proxy: a dot at the end of the entry": (FAR, both("example.org."), None),
    "no_proxy: a name beyond ASCII": ("https://bücher.example", both("xn--bcher-kva.example"), None),
    "no_proxy: all": (FAR, both("*"), None),
    "no_proxy: all, among others": (FAR, both("a.test, *"), None),
    "no_proxy: the port": (FAR, both("gateway.example.org:8008"), None),
    "no_proxy: another port": (FAR, both("gateway.example.org:443"), P),
    "no_proxy: the scheme's own port": ("https://gateway.example.org", both("gateway.example.org:443"), None),
    "no_proxy: a domain and a port": (FAR, both(".example.org:8008"), None),
    "no_proxy: spaces between": (FAR, both("a.test gateway.example.org  b.test"), None),
    "no_proxy: an address": ("https://10.1.2.3:8008", both("10.1.2.3"), None),
    "no_proxy: an address and a port": ("https://10.1.2.3:8008", both("10.1.2.3:8008"), None),
    "no_proxy: the end of an address": ("https://10.1.2.3:8008", both("2.3"), P),
    "no_proxy: a network": ("https://10.1.2.3:8008", both("192.168.0.0/16,10.0.0.0/8"), None),
    "no_proxy: a network with host bits": ("https://10.1.2.3:8008", both("10.9.9.9/8"), None),
    "no_proxy: another network": ("https://11.1.2.3:8008", both("10.0.0.0/8"), P),
    "no_proxy: a network is not for names": (FAR, both("0.0.0.0/0"), P),
    "no_proxy: an IPv6 network": ("https://[fd00::17]:8008", both("fd00::/8"), None),
    "no_proxy: an IPv6 address": ("https://[fd00::17]:8008", both("fd00:0::17"), None),
    "no_proxy: an IPv6 address and a port": ("https://[fd00::17]:8008", both("[fd00::17]:8008"), None),
    "no_proxy: an IPv4 address within IPv6": ("https://[::ffff:10.1.2.3]", both("10.0.0.0/8"), None),
    "no_proxy: nonsense": (FAR, both("10.0.0.0/99,:::,/,.,[,a:b:c,gateway.example.org:0"), P),
    "loopback: localhost": ("https://localhost:8008", both(""), None),
    "loopback: below localhost": ("http://mltm.localhost:8008", both(""), None),
    "loopback: 127.0.0.1": ("http://127.0.0.1:8008", {"all_proxy": P}, None),
    "loopback: all of 127": ("http://127.8.9.10:8008", both(""), None),
    "loopback: IPv6": ("http://[::1]:8008", both(""), None),
    "loopback: IPv4 within IPv6": ("http://[::ffff:127.0.0.1]:8008", both(""), None),
}  # fmt: skip
WRONG = {
    "a port that is a word": ("https_proxy", "http://p:port", "https_proxy does not name a proxy: 'http://p:port'"),
    "no host": ("https_proxy", ":3128", "https_proxy does not name a proxy"),
    "half an IPv6 address": ("https_proxy", "http://[fd00::1:3128", "https_proxy does not name a proxy"),
    "a password with #": ("https_proxy", "http://ada:p#w@p:3128", "https_proxy does not name a proxy: 'http://…@p:3128'"),
    "a sentence": ("all_proxy", "ask the admin", "all_proxy does not name a proxy: 'ask the admin'"),
    "SOCKS": ("all_proxy", "socks5h://ada:pw@s:1080", "all_proxy names a proxy for socks5h, which cannot be used: 'socks5h://…@"),
    "in upper case": ("HTTPS_PROXY", "ftp://p", "HTTPS_PROXY names a proxy for ftp"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize(("url", "env", "expected"), CASES.values(), ids=CASES)
def test_the_environment_means_what_it_means_to_curl_and_requests(
    url: str, env: Mapping[str, str], expected: str | None
) -> None:
    for proxy in (find_proxy(url, env), read_proxy(url, env)):
        assert (proxy.url if proxy else None) == expected
        assert "pw" not in repr(proxy)


@pytest.mark.parametrize(("variable", "value", "message"), WRONG.values(), ids=WRONG)
async def test_a_wrong_variable_is_named_on_every_way_in(
    environment: pytest.MonkeyPatch, mltm: Mltm, variable: str, value: str, message: str
) -> None:
    environment.setenv(variable, value)
    told = []
    with pytest.raises(ProxyError) as pure:
        find_proxy(FAR, {variable: value})
    told.append(f"{pure.value} {pure.value.next_step}")
    with pytest.raises(SettingsError) as agent:
        read_proxy(FAR)
    told.append(str(agent.value))
    with pytest.raises(MltmError) as python:
        async with Client(FAR, TOKEN):
            pass
    told.append(str(python.value))
    with pytest.raises(MltmError) as notebook:
        SyncClient(Client(FAR, TOKEN))
    told.append(str(notebook.value))
    ran = mltm.as_program("--url", FAR, "whoami")
    assert ran.code == 2
    told.append(ran.err)
    for text in told:
        assert message in text
        assert ":pw@" not in text
        assert "p#w" not in text


@pytest.fixture
def relay(gateway: FakeGateway, environment: pytest.MonkeyPatch) -> FakeGateway:
    """A gateway that is reached as if it were a proxy: by absolute addresses (RFC 9112, 3.2.2)."""
    environment.setenv("http_proxy", gateway.url.removeprefix("http://"))
    return gateway


async def test_the_python_client_goes_through(relay: FakeGateway) -> None:
    async with Client("http://gateway.test:8008", TOKEN) as client:
        assert (await client.whoami()).username == "ada"
    assert relay.seen[0].headers["Host"] == "gateway.test:8008"


def test_the_notebook_goes_through(relay: FakeGateway) -> None:
    with SyncClient(Client("http://gateway.test:8008", TOKEN)) as client:
        assert client.whoami().username == "ada"


def test_the_command_goes_through(mltm: Mltm, relay: FakeGateway) -> None:
    ran = mltm.as_program("--url", "http://gateway.test:8008", "whoami", http_proxy=relay.url.removeprefix("http://"))
    assert ran.out.startswith("ada "), ran.err


async def test_the_agent_goes_through(relay: FakeGateway, tmp_path: Path) -> None:
    kit = UplinkKit(tmp_path)
    kit.settings = kit.settings.model_copy(update={"gateway_url": "http://gateway.test:8008", "allow_plain_http": True})
    async with AsyncExitStack() as stack:
        client = await kit.open_client(stack)
        with pytest.raises(Exception, match=r"gateway\.test"):  # the fake gateway does not know agents
            await client.send_reports(ReportBatch(epoch=1, reports=[]))
    assert relay.seen[0].headers["Host"] == "gateway.test:8008"


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


ONE_TRY = RetryPolicy(request_s=0, sleep=INSTANT.sleep)


@pytest.mark.parametrize("url", ["http://gateway.test:8008", "https://gateway.test:8008"])
async def test_a_proxy_that_is_away_is_not_taken_for_the_gateway(
    environment: pytest.MonkeyPatch, closed_port: int, tmp_path: Path, url: str
) -> None:
    environment.setenv("all_proxy", f"http://ada:pw@127.0.0.1:{closed_port}")
    async with Client(url, TOKEN, retry_policy=ONE_TRY) as client:
        with pytest.raises(UnreachableError) as python:
            await client.whoami()
    assert (
        f"Cannot connect to the proxy 127.0.0.1:{closed_port} (Connection refused). The proxy is set by all_proxy."
        in (str(python.value))
    )
    kit = UplinkKit(tmp_path)
    kit.settings = kit.settings.model_copy(update={"gateway_url": url, "allow_plain_http": True})
    async with AsyncExitStack() as stack:
        agent = await kit.open_client(stack)
        with pytest.raises(GatewayAwayError) as told:
            await agent.send_reports(ReportBatch(epoch=1, reports=[]))
    assert f"through the proxy 127.0.0.1:{closed_port}, which all_proxy names" in str(told.value)
    assert "pw" not in str(python.value) + str(told.value)


async def test_a_proxy_whose_name_is_unknown_is_not_taken_for_the_gateway(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("https_proxy", "no-such-host.invalid:3128")
    async with Client(FAR, TOKEN, retry_policy=ONE_TRY) as client:
        with pytest.raises(UnreachableError, match=r"of the proxy no-such-host.invalid:3128 cannot be resolved"):
            await client.whoami()


@pytest.mark.parametrize("status", [403, 407, 502])
async def test_a_proxy_that_refuses_is_not_taken_for_the_gateway(
    environment: pytest.MonkeyPatch, gateway: FakeGateway, status: int
) -> None:
    gateway.connect_status = status
    environment.setenv("https_proxy", gateway.url)
    async with Client(FAR, TOKEN, retry_policy=ONE_TRY) as client:
        with pytest.raises(UnreachableError, match=rf"The proxy 127.0.0.1:\d+ answered {status}") as told:
            await client.whoami()
    assert ("name:password@host:port" in str(told.value)) == (status == 407)
