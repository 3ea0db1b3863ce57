import hashlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from mltm.client import Client
from mltm.contract.parse_config import ConfigError
from mltm.wire.errors import MltmError, UnreachableError
from mltm.wire.retry_policy import RetryPolicy
from tests.certificates import make_certificate
from tests.gateway.certificates import Authority, build_strict_context
from tests.mltm.client.build import CONFIG, INSTANT, open_client, write_submission
from tests.mltm.client.fake_gateway import TOKEN, FakeGateway, run_gateway

ONE_TRY = RetryPolicy(request_s=0.0, sleep=INSTANT.sleep)


def _free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("url", "key", "message"),
    [
        ("http://127.0.0.1:{port}", "gateway_away", "Cannot connect to the gateway at 127.0.0.1:{port}"),
        ("ftp://127.0.0.1:{port}", "bad_address", "is not a gateway's address. An address looks like https://"),
        ("127.0.0.1:{port}", "bad_address", "is not a gateway's address"),
    ],
)
async def test_no_answer_is_said_with_the_address(url: str, key: str, message: str) -> None:
    port = _free_port()
    async with Client(url.format(port=port), TOKEN, retry_policy=ONE_TRY) as client:
        with pytest.raises(MltmError) as caught:
            await client.whoami()
    assert caught.value.key == key
    assert isinstance(caught.value, UnreachableError) == (key == "gateway_away")  # a wrong address is no silence
    assert message.format(port=port) in str(caught.value)


async def test_http_where_tls_was_expected_says_so(gateway: FakeGateway) -> None:
    async with Client(gateway.url.replace("http:", "https:"), TOKEN, retry_policy=ONE_TRY) as client:
        with pytest.raises(UnreachableError, match="does not speak TLS as expected"):
            await client.whoami()


@pytest.fixture
def tls_gateway(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server whose certificate is its own authority: its address, and the certificate."""
    certificate, key = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with run_gateway(context) as gateway:
        yield gateway.url, certificate


async def test_a_certificate_of_an_unknown_authority_is_shown_with_the_way_out(tls_gateway: tuple[str, Path]) -> None:
    url, certificate = tls_gateway
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest()
    tries: list[MltmError] = []  # trying again would not mend it
    async with Client(url, TOKEN, retry_policy=INSTANT, on_retry=lambda error, _: tries.append(error)) as client:
        with pytest.raises(UnreachableError, match=r"is not trusted: self.signed certificate\. Its SHA-256") as caught:
            await client.whoami()
    assert (caught.value.key, tries) == ("tls_untrusted", [])
    assert digest in str(caught.value).replace(":", "").lower()
    assert "--ca FILE, MLTM_CA, or ca_file= in Python" in str(caught.value)
    async with Client(url, TOKEN, certificate) as client:
        assert (await client.whoami()).username == "ada"


@pytest.fixture
def lax_gateway(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server whose authority lacks what Python 3.13 and newer ask for: its address, and the authority."""
    authority = Authority(tmp_path / "ca", strict=False)
    pair = authority.issue("gateway")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)
    with run_gateway(context) as gateway:
        yield gateway.url, authority.cert


async def test_a_certificate_that_only_new_pythons_refuse_is_explained(
    lax_gateway: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, authority = lax_gateway
    strict = build_strict_context(authority)
    monkeypatch.setattr(ssl, "create_default_context", lambda **_: strict)
    async with Client(url, TOKEN, authority, retry_policy=INSTANT) as client:
        with pytest.raises(UnreachableError, match="not include key usage extension") as caught:
            await client.whoami()

    assert caught.value.key == "tls_untrusted"
    assert "Python 3.13 and newer check certificates strictly" in caught.value.problem.next_step
    assert "openssl s_client -x509_strict" in caught.value.problem.next_step


async def test_a_missing_or_wrong_ca_file_is_named(tmp_path: Path) -> None:
    wrong = tmp_path / "ca.pem"
    wrong.write_text("no certificate")
    for path in (wrong, tmp_path / "none.pem"):
        with pytest.raises(MltmError, match=f"Cannot read certificates from .*{path.name}, which --ca, MLTM_CA, "):
            async with Client("https://127.0.0.1:1", TOKEN, path):
                pass


async def test_a_wrong_token_is_refused_in_words(gateway: FakeGateway) -> None:
    async with open_client(gateway, token="stale") as client:
        with pytest.raises(MltmError, match="token is missing or not valid") as caught:
            await client.whoami()
    assert caught.value.problem.status == 401


async def test_a_login_is_used_from_then_on(gateway: FakeGateway) -> None:
    async with open_client(gateway, token=None) as client:
        with pytest.raises(MltmError, match="password is wrong"):
            await client.login("ada", "wrong")
        await client.login("ada", "right")
        assert (await client.whoami()).clusters == ["atena02"]


async def test_an_error_page_of_a_proxy_is_no_traceback(gateway: FakeGateway) -> None:
    async with open_client(gateway) as client:
        with pytest.raises(MltmError, match=r"answered 405 Method Not Allowed without an explanation\. A proxy"):
            await client.tokens()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modle_params": {}}, "modle_params: no such field. Did you mean model_params?"),
        ({"script_path": "other.py"}, "must name the script that is sent, train.py"),
        ({"model_params": {"x": float("nan")}}, "NaN and Infinity are not JSON numbers"),
        ({"runner_location": "atena03"}, "a section for runner_location 'atena03' is needed"),
    ],
)
async def test_a_wrong_config_is_found_before_anything_is_sent(
    gateway: FakeGateway, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    _, script = write_submission(tmp_path)
    async with open_client(gateway) as client:
        with pytest.raises(ConfigError) as caught:
            await client.submit(CONFIG | change, script)
    assert message in str(caught.value)
    assert gateway.seen == []


async def test_wrong_files_are_found_before_anything_is_sent(gateway: FakeGateway, tmp_path: Path) -> None:
    config, script = write_submission(tmp_path)
    empty, other = tmp_path / "empty.csv", tmp_path / "sub"
    empty.touch()
    other.mkdir()
    (other / "train.py").write_text("x")
    async with open_client(gateway) as client:
        with pytest.raises(ConfigError, match=r"file is empty \(given: 'empty.csv'\)"):
            await client.submit(config, script, [empty])
        with pytest.raises(ConfigError, match=r"duplicate file name. Rename one of the two \(given: 'train.py'\)"):
            await client.submit(config, script, [other / "train.py"])
        with pytest.raises(FileNotFoundError):
            await client.submit(config, script, [tmp_path / "none.csv"])
        with pytest.raises(IsADirectoryError):
            await client.submit(config, script, [other])
    assert gateway.seen == []
