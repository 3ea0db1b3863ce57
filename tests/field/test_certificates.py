"""Fault 3.17: SSL_CERT_FILE that names a missing file was not named, and REQUESTS_CA_BUNDLE was not read.

A user behind a site's own authority sets the variables that pip, requests and curl read. He expects that mltm and the
agent trust the same, and that a file that is not there is named instead of the gateway's certificate blamed.
"""

import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.errors import GatewayAwayError, SettingsError
from agent.uplink.address import build_tls
from agent.uplink.client import GatewayClient, open_session
from mltm.client import Client
from mltm.contract.agent_api import ReportBatch
from mltm.notebook import SyncClient
from mltm.wire.errors import MltmError, UnreachableError
from mltm.wire.retry_policy import RetryPolicy
from tests.agent.uplink.build import UplinkKit
from tests.certificates import make_certificate
from tests.mltm.cli.run import Mltm
from tests.mltm.client.fake_gateway import TOKEN, FakeGateway, run_gateway

ONE_TRY = RetryPolicy(request_s=0)
VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "MLTM_CA")


@dataclass(frozen=True)
class Site:
    """A gateway with TLS, and its authority as a file, in a hashed folder, and what is wrong with others."""

    gateway: FakeGateway
    good: Path
    folder: Path
    other: Path
    empty: Path
    missing: Path


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    here, other = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("other")
    certificate, key = make_certificate(here)
    stranger, _ = make_certificate(other)
    folder = tmp_path_factory.mktemp("hashed")
    shutil.copy(certificate, folder / "cert.pem")
    subprocess.run(["openssl", "rehash", str(folder)], check=True, capture_output=True)
    (here / "empty.pem").write_text("no certificate")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with run_gateway(context) as gateway:
        yield Site(gateway, certificate, folder, stranger, here / "empty.pem", here / "none.pem")


TRUSTED: dict[str, Callable[[Site], dict[str, object]]] = {
    "3.17: SSL_CERT_FILE": lambda site: {"SSL_CERT_FILE": site.good},
    "3.17: SSL_CERT_DIR": lambda site: {"SSL_CERT_DIR": site.folder},
    "3.17: SSL_CERT_DIR of two": lambda site: {"SSL_CERT_DIR": f"{site.other.parent}:{site.folder}"},
    "3.17: REQUESTS_CA_BUNDLE": lambda site: {"REQUESTS_CA_BUNDLE": site.good},
    "3.17: REQUESTS_CA_BUNDLE, a folder": lambda site: {"REQUESTS_CA_BUNDLE": site.folder},
    "3.17: CURL_CA_BUNDLE": lambda site: {"CURL_CA_BUNDLE": site.good},
    "3.17: an empty variable is none": lambda site: {"SSL_CERT_FILE": "", "REQUESTS_CA_BUNDLE": site.good},
    "3.17: OpenSSL's comes first": lambda site: {"SSL_CERT_FILE": site.good, "REQUESTS_CA_BUNDLE": site.other},
    "3.17: white space around": lambda site: {"REQUESTS_CA_BUNDLE": f"{site.good}\n"},
}
WRONG: dict[str, tuple[str, Callable[[Site], object], str]] = {
    "3.17: a missing file": ("SSL_CERT_FILE", lambda site: site.missing, "No such file or directory"),
    "3.17: not PEM": ("SSL_CERT_FILE", lambda site: site.empty, "no certificate in PEM form"),
    "3.17: a folder as the file": ("SSL_CERT_FILE", lambda site: site.folder, ""),
    "3.17: a missing folder": ("SSL_CERT_DIR", lambda site: site.missing, "no such folder"),
    "3.17: a file as the folder": ("SSL_CERT_DIR", lambda site: site.good, "no such folder"),
    "3.17: a missing bundle": ("REQUESTS_CA_BUNDLE", lambda site: site.missing, "No such file or directory"),
    "3.17: a missing bundle of curl": ("CURL_CA_BUNDLE", lambda site: site.missing, "No such file or directory"),
    "3.17: below a file": ("REQUESTS_CA_BUNDLE", lambda site: site.good / "x", "Not a directory"),
}


@pytest.mark.parametrize("make", TRUSTED.values(), ids=TRUSTED)
async def test_every_side_trusts_what_the_environment_names(
    site: Site, environment: pytest.MonkeyPatch, mltm: Mltm, tmp_path: Path, make: Callable[[Site], dict[str, object]]
) -> None:
    env = {name: str(value) for name, value in make(site).items()}
    for name, value in env.items():
        environment.setenv(name, value)
    async with Client(site.gateway.url, TOKEN, retry_policy=ONE_TRY) as client:
        assert (await client.whoami()).username == "ada"
    with SyncClient(Client(site.gateway.url, TOKEN, retry_policy=ONE_TRY)) as notebook:
        assert notebook.whoami().username == "ada"
    assert mltm.as_program("--url", site.gateway.url, "whoami", **env).code == 0
    kit = UplinkKit(tmp_path)
    settings = kit.settings.model_copy(update={"gateway_url": site.gateway.url})
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session())
        with pytest.raises(Exception, match=r"401|404") as answered:  # the fake gateway answers, but knows no agents
            await GatewayClient(session, settings, tls=build_tls(None)).send_reports(ReportBatch(epoch=1, reports=[]))
        assert "is not trusted" not in str(answered.value)


@pytest.mark.parametrize(("variable", "find", "reason"), WRONG.values(), ids=WRONG)
async def test_every_side_names_what_cannot_be_read(
    site: Site, environment: pytest.MonkeyPatch, mltm: Mltm, variable: str, find: Callable[[Site], object], reason: str
) -> None:
    path = str(find(site))
    environment.setenv(variable, path)
    with pytest.raises(MltmError) as python:
        async with Client(site.gateway.url, TOKEN):
            pass
    with pytest.raises(MltmError) as notebook:
        SyncClient(Client(site.gateway.url, TOKEN))
    with pytest.raises(SettingsError) as agent:
        build_tls(None)
    ran = mltm.as_program("--url", site.gateway.url, "whoami")
    assert ran.code == 2
    for text in (str(python.value), str(notebook.value), str(agent.value), ran.err):
        assert f"Cannot read certificates from {path}, which {variable} names: {reason}" in text


async def test_a_file_that_was_given_makes_the_environment_unimportant(
    site: Site, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("SSL_CERT_FILE", str(site.missing))
    async with Client(site.gateway.url, TOKEN, site.good, retry_policy=ONE_TRY) as client:
        assert (await client.whoami()).username == "ada"
    assert isinstance(build_tls(site.good), ssl.SSLContext)


async def test_without_tls_no_certificate_is_looked_for(gateway: FakeGateway, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SSL_CERT_FILE", "/nowhere")
    async with Client(gateway.url, TOKEN) as client:
        assert (await client.whoami()).username == "ada"


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
async def test_an_authority_that_does_not_fit_is_named(
    site: Site, environment: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    environment.setenv(variable, str(site.other))
    async with Client(site.gateway.url, TOKEN, retry_policy=ONE_TRY) as client:
        with pytest.raises(UnreachableError) as told:
            await client.whoami()
    assert f"The authorities of {variable}={site.other} are trusted, and no others." in str(told.value)
    settings = UplinkKit(tmp_path).settings.model_copy(update={"gateway_url": site.gateway.url})
    async with open_session() as session:
        with pytest.raises(GatewayAwayError, match="is not trusted"):
            await GatewayClient(session, settings, tls=build_tls(None)).send_reports(ReportBatch(epoch=1, reports=[]))
