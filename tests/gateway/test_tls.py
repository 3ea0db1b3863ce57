"""TLS by certificate files: on a real socket, with certificates of a private authority made here."""

import contextlib
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway import tls
from gateway.check import check_all
from gateway.errors import UnavailableError
from gateway.settings import GatewaySettings
from gateway.tls import Certificate
from mltm.client import Client
from mltm.wire.errors import MltmError
from tests.gateway.build import CLUSTER
from tests.gateway.certificates import Authority, Pair, build_strict_context
from tests.gateway.fixtures import prepare
from tests.gateway.process import BIN, Server, serving


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.issue("gateway")


class Tls:
    """A gateway process over https, a user's token, and an agent's code."""

    def __init__(self, server: Server, tokens: dict[str, str], code: str) -> None:
        self.url, self.token, self.code = server.url, tokens["alice"], code


def write_config(folder: Path, pair: Pair) -> Path:
    config = folder / "gateway.toml"
    lines = f'data_dir = "{folder}/data"\nport = 0\ntls_cert = "{pair.cert}"\ntls_key = "{pair.key}"\n'
    config.write_text(lines)
    return config


@pytest.fixture(scope="module")
def served(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    folder = tmp_path_factory.mktemp("served")
    tokens, code = prepare(GatewaySettings(data_dir=folder / "data"), folder / "spool")
    with serving("--config", str(write_config(folder, pair))) as server:
        yield Tls(server, tokens, code)


async def test_users_verify_it_with_their_authority(served: Tls, authority: Authority) -> None:
    assert served.url.startswith("https://")
    async with Client(served.url, served.token, authority.cert) as client:
        assert (await client.whoami()).username == "alice"
    async with Client(served.url, served.token) as stranger:
        with pytest.raises(MltmError, match="is not trusted: unable to get local issuer certificate"):
            await stranger.whoami()


async def test_its_authority_is_good_enough_for_new_pythons(served: Tls, authority: Authority) -> None:
    strict = build_strict_context(authority.cert)
    async with aiohttp.ClientSession() as session, session.get(f"{served.url}/healthz", ssl=strict) as answer:
        assert answer.status == 200


async def test_health_is_told_over_tls(served: Tls, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=authority.cert)
    async with aiohttp.ClientSession() as session, session.get(f"{served.url}/healthz", ssl=context) as answer:
        assert (answer.status, (await answer.json())["status"]) == (200, "ok")
        assert answer.headers["Strict-Transport-Security"]


def _run(*argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if name not in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
    argv = (str(BIN / argv[0]), *argv[1:])
    return subprocess.run(argv, env={**known, **env}, capture_output=True, text=True, check=False, timeout=50)


@pytest.mark.parametrize("variable", ["MLTM_CA", "SSL_CERT_FILE"])
def test_mltm_is_told_of_a_private_authority_by_a_variable(served: Tls, authority: Authority, variable: str) -> None:
    login = {"MLTM_URL": served.url, "MLTM_TOKEN": served.token}
    assert _run("mltm", "whoami", **login).returncode != 0

    done = _run("mltm", "whoami", **login, **{variable: str(authority.cert)})

    assert (done.returncode, done.stdout[:6]) == (0, "alice "), done.stderr


def test_the_agent_is_told_of_a_private_authority_by_its_config_or_a_variable(
    served: Tls, authority: Authority, tmp_path: Path
) -> None:
    config = tmp_path / "agent.toml"
    lines = f'spool = "{tmp_path}/spool"\ncluster = "{CLUSTER}"\ncredential_file = "{tmp_path}/credential"\n'
    enroll = ("mltm-agent", "enroll", "--gateway", served.url, "--config", str(config), "--code")
    config.write_text(lines)
    stranger = _run(*enroll, "enrol_wrong")
    assert (stranger.returncode != 0, "is not trusted: unable to get local issuer" in stranger.stderr) == (True, True)
    assert "Set ca_file in the agent's config" in stranger.stderr

    told = _run(*enroll, "enrol_wrong", SSL_CERT_FILE=str(authority.cert))
    assert "This enrolment code is not known" in told.stderr
    config.write_text(f'{lines}ca_file = "{authority.cert}"\n')
    done = _run(*enroll, served.code)
    assert (done.returncode, "enrolled at https://" in done.stdout) == (0, True), done.stderr


def spoil(kind: str, authority: Authority, folder: Path) -> Pair:
    """A good certificate and its key in a folder, with one thing wrong."""
    good = authority.issue("spoilt", begins_d=20 if kind == "future" else -9, ends_d=-2 if kind == "expired" else 30)
    cert, key = Path(shutil.copy(good.cert, folder / "cert.pem")), Path(shutil.copy(good.key, folder / "key.pem"))
    match kind:
        case "no cert":
            cert.unlink()
        case "no key":
            key.unlink()
        case "a folder":
            key.unlink()
            key.mkdir()
        case "no PEM":
            cert.write_bytes(ssl.PEM_cert_to_DER_cert(cert.read_text()[cert.read_text().index("-----BEGIN") :]))
        case "swapped":
            cert, key = key, cert
        case "cut off":
            cert.write_text(cert.read_text()[:-200])
        case "another key":
            shutil.copy(authority.issue("other").key, key)
        case "passphrase":
            argv = ("openssl", "pkey", "-in", good.key, "-out", key, "-aes128", "-passout", "pass:secret")
            subprocess.run(argv, check=True, capture_output=True, timeout=30)
        case _:
            assert kind in ("expired", "future")
    return Pair(cert, key)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no cert", "certificate {cert} cannot be read: No such file"),
        ("no key", "private key {key} cannot be read: No such file"),
        ("a folder", "private key {key} cannot be read: Is a directory"),
        ("no PEM", "{cert} has no certificate in PEM format"),
        ("swapped", "{cert} has no certificate in PEM format"),
        ("cut off", "The certificate {cert} or its key {key} cannot be used"),
        ("another key", "private key {key} does not belong to the certificate {cert}"),
        ("passphrase", "private key {key} has a passphrase"),
        ("expired", "certificate {cert} has expired"),
        ("future", "certificate {cert} is not valid yet"),
    ],
)
def test_a_certificate_that_cannot_serve_is_named(
    authority: Authority, tmp_path: Path, kind: str, message: str
) -> None:
    pair = spoil(kind, authority, tmp_path)
    with pytest.raises(UnavailableError) as caught:
        Certificate(pair.cert, pair.key)

    assert message.format(cert=pair.cert, key=pair.key) in str(caught.value)
    assert re.search("tls_cert|openssl pkey|Renew", caught.value.next_step)


def test_a_gateway_does_not_start_with_one(authority: Authority, tmp_path: Path) -> None:
    pair = spoil("another key", authority, tmp_path)
    done = _run("mltm-gateway", "serve", "--config", str(write_config(tmp_path, pair)))

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"mltm-gateway: The private key {pair.key} does not belong to")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> str | None:
    """The version that both come to, in this process."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True))
    for end in ends * 3:
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
    return ends[0].version()


def build_client(highest: ssl.TLSVersion) -> ssl.SSLContext:
    """A client that takes any certificate and any old cipher."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_ciphers("ALL:@SECLEVEL=0")
    client.minimum_version = ssl.TLSVersion.TLSv1
    client.maximum_version = highest
    return client


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_of_tls_are_refused_and_the_newest_is_preferred(pair: Pair) -> None:
    server = Certificate(pair.cert, pair.key).context
    assert shake_hands(server, build_client(ssl.TLSVersion.MAXIMUM_SUPPORTED)) == "TLSv1.3"
    assert shake_hands(server, build_client(ssl.TLSVersion.TLSv1_2)) == "TLSv1.2"
    for old in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        with pytest.raises(ssl.SSLError):
            shake_hands(server, build_client(old))

    server.set_ciphers("ALL:@SECLEVEL=0")
    server.minimum_version = ssl.TLSVersion.TLSv1
    assert shake_hands(server, build_client(ssl.TLSVersion.TLSv1_1)) == "TLSv1.1"  # the refusal was the gateway's


def test_every_cipher_has_128_bits_and_forward_secrecy(pair: Pair) -> None:
    ciphers = Certificate(pair.cert, pair.key).context.get_ciphers()

    assert len(ciphers) > 3
    assert [one["name"] for one in ciphers if one["strength_bits"] < 128] == []
    assert [one["name"] for one in ciphers if not one["name"].startswith(("TLS_", "ECDHE-", "DHE-"))] == []


def fingerprint_of(context: ssl.SSLContext, chain: Path) -> Any:
    """The serial number that clients of this context see."""
    return tls._try(context, chain)["serialNumber"]


def test_a_renewed_certificate_is_taken_by_the_running_gateway(authority: Authority, tmp_path: Path) -> None:
    old, new = authority.issue("old"), authority.issue("new")
    cert, key = Path(shutil.copy(old.cert, tmp_path / "c.pem")), Path(shutil.copy(old.key, tmp_path / "k.pem"))
    certificate = Certificate(cert, key)
    first = fingerprint_of(certificate.context, cert)

    shutil.copy(new.cert, cert)  # the moment between the two files: they do not match
    certificate.refresh()
    assert fingerprint_of(certificate.context, old.cert) == first

    shutil.copy(new.key, key)
    certificate.refresh()
    assert fingerprint_of(certificate.context, cert) != first


@pytest.mark.parametrize(
    ("issue", "public_url", "message"),
    [
        ({}, None, "ok"),
        ({"address": "DNS:*.example.org"}, "https://gateway.example.org", "ok"),
        (
            {"address": "DNS:gateway.example.org"},
            "https://other.example.org",
            "users reach the gateway at other.example",
        ),
        ({"ends_d": 3}, None, "expires in 3 days. Renew it"),
        ({"ends_d": -3, "begins_d": -5}, None, "has expired"),
    ],
)
def test_the_check_looks_at_the_certificate(
    authority: Authority, tmp_path: Path, issue: dict[str, Any], public_url: str | None, message: str
) -> None:
    pair = authority.issue("checked", **issue)
    pair.key.chmod(0o600)
    settings = GatewaySettings(data_dir=tmp_path, tls_cert=pair.cert, tls_key=pair.key, public_url=public_url)

    assert message in dict(check_all(settings, [], datetime.now(UTC)))["certificate"]


def test_a_key_that_everybody_can_read_is_said(pair: Pair, tmp_path: Path) -> None:
    open_key = Path(shutil.copy(pair.key, tmp_path / "key.pem"))
    open_key.chmod(0o644)
    settings = GatewaySettings(data_dir=tmp_path, tls_cert=pair.cert, tls_key=open_key)

    assert "chmod 600" in dict(check_all(settings, [], datetime.now(UTC)))["certificate"]


def test_a_key_that_the_user_may_not_read_is_named(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may read everything: what the system says to others is given here.
    def refuse(path: Path, **_: object) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(UnavailableError, match="cannot be read: Permission denied"):
        Certificate(pair.cert, pair.key)
