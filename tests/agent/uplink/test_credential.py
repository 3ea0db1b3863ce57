import json
import ssl
import stat
from pathlib import Path

import pytest

from agent.errors import GatewayAwayError, SettingsError
from agent.settings import AgentSettings
from agent.spool.spool_key import write_spool_key
from agent.uplink.address import build_tls, check_gateway_url, read_gateway_url, read_proxy
from agent.uplink.credential import Credential, read_credential, write_credential
from mltm.contract.proofs import render_address
from tests.agent.uplink.build import SECRET, UplinkKit
from tests.certificates import make_certificate


def test_what_was_enrolled_is_read_back_and_nobody_else_can(uplink: UplinkKit) -> None:
    assert read_credential(uplink.settings.credential_file).credential == SECRET
    assert stat.S_IMODE(uplink.settings.credential_file.stat().st_mode) == 0o600


def test_a_credential_does_not_show_its_secret(uplink: UplinkKit) -> None:
    assert SECRET not in repr(read_credential(uplink.settings.credential_file))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_credential_that_others_can_read_is_refused_with_what_to_do(uplink: UplinkKit, mode: int) -> None:
    uplink.settings.credential_file.chmod(mode)
    with pytest.raises(SettingsError, match=r"Others can read .*Run: chmod 600 /"):
        read_credential(uplink.settings.credential_file)


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", SECRET, json.dumps({"credential": SECRET}),
        json.dumps({"agent_id": SECRET, "credential": "", "cluster": "c", "owner": "o", "gateway_name": "g"}),
        json.dumps({"agent_id": 7, "credential": [SECRET], "cluster": "c", "owner": "o", "gateway_name": "g"}),
    ],
)  # fmt: skip
def test_other_contents_are_refused_without_showing_them(uplink: UplinkKit, content: str) -> None:
    uplink.settings.credential_file.write_text(content)
    with pytest.raises(SettingsError, match=r"was not written by `mltm-agent enroll`\. Enrol this agent") as caught:
        read_credential(uplink.settings.credential_file)
    assert SECRET not in str(caught.value)


def test_a_missing_credential_says_to_enrol(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"There is no credential file .*mltm-agent enroll"):
        read_credential(tmp_path / "none")


def test_a_folder_or_a_link_in_its_place_is_refused(uplink: UplinkKit, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Cannot read"):
        read_credential(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(uplink.settings.credential_file)
    with pytest.raises(SettingsError, match="Cannot read"):
        read_credential(link)


def test_a_place_that_cannot_be_written_is_named(uplink: UplinkKit, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    known = Credential(agent_id="a", credential=SECRET, cluster="c", owner="", gateway_name="g")
    with pytest.raises(SettingsError, match=r"Cannot write .*Set credential_file in the config") as caught:
        write_credential(tmp_path / "file" / "credential", known, uplink.clock)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://gateway.example.org:8008/", "https://gateway.example.org:8008"),
        ("http://[::1]:8008", "http://[::1]:8008"),
        ("https://g/mltm//", "https://g/mltm"),
        ("http://localhost:1/", "http://localhost:1"),
        ("http://127.9.9.9", "http://127.9.9.9"),
    ],
)
def test_an_address_is_kept_without_its_last_slash(url: str, kept: str) -> None:
    assert check_gateway_url(url) == kept


@pytest.mark.parametrize(
    "url",
    [
        "", "gateway:8008", "ftp://gateway", "http://", "http:///path", "https://gateway?x=1", "http://[::1",
        "http://gateway:port", "http://gateway:99999", "http://a\nhttp://b", "http://a b", "http://\x00",
        "http://gateway:0", "\ufffd\ufffd",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(SettingsError, match=r"is not the address of a gateway\. It looks like https://"):
        check_gateway_url(url)


def test_a_password_in_an_address_is_not_shown() -> None:
    with pytest.raises(SettingsError, match=r"//…@gateway") as caught:
        check_gateway_url("https://maria:p@ssw0rd@gateway:8008")
    assert "ssw0rd" not in str(caught.value)


URL, SPOOL_ID, KEY = "https://moved.example.org", "5" * 32, b"k" * 32


def follow(uplink: UplinkKit, raw: bytes | None = None, key: bytes | None = KEY, **changes: object) -> AgentSettings:
    """An agent whose config has no address, enrolled at its gateway's, and with this file in its inbox."""
    uplink.settings.inbox_folder.root.mkdir(exist_ok=True)
    uplink.spool.spool_id.write_text(f"{SPOOL_ID}\n")
    if key is not None:
        write_spool_key(uplink.spool, key.hex(), uplink.clock)
    if raw is not None:
        uplink.settings.inbox_folder.address.write_bytes(raw)
    return uplink.settings.model_copy(update={"gateway_url": None, **changes})


def test_the_config_overrides_what_the_gateway_wrote(uplink: UplinkKit) -> None:
    settings = follow(uplink, render_address(URL, SPOOL_ID, KEY))
    assert read_gateway_url(uplink.settings) == uplink.url
    assert read_gateway_url(settings) == URL


def test_without_a_file_the_agent_calls_where_it_was_enrolled(uplink: UplinkKit) -> None:
    uplink.enrol(gateway_url="https://first.example.org")
    assert read_gateway_url(follow(uplink)) == "https://first.example.org"


def test_a_file_is_not_even_read_by_an_agent_without_a_key(uplink: UplinkKit) -> None:
    uplink.enrol(gateway_url="https://first.example.org")
    assert read_gateway_url(follow(uplink, render_address(URL, SPOOL_ID, KEY), key=None)) == "https://first.example.org"


def test_an_agent_that_knows_no_address_says_what_to_do(uplink: UplinkKit) -> None:
    with pytest.raises(GatewayAwayError, match=r"address is not known\. Set gateway_url in the config, or enrol"):
        read_gateway_url(follow(uplink))


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\xff\xfe", b"https://other.example.org\n", b"{}", b"[]",
        render_address(URL, SPOOL_ID, b"x" * 32), render_address(URL, "6" * 32, KEY),
        render_address(URL, SPOOL_ID, KEY).replace(b"moved", b"other"),
        render_address(URL, SPOOL_ID, KEY).replace(b"https", b"http"),
    ],
)  # fmt: skip
def test_an_address_that_the_gateway_did_not_prove_is_not_followed(uplink: UplinkKit, raw: bytes) -> None:
    uplink.enrol(gateway_url="https://first.example.org")
    with pytest.raises(GatewayAwayError, match=r"/in/address is not followed: .*Find out who wrote it"):
        read_gateway_url(follow(uplink, raw))


@pytest.mark.parametrize("url", ["http://gateway.example.org:8008", "http://10.0.0.7:8008", "http://[fd00::7]:1"])
def test_a_proved_address_without_encryption_is_followed_on_this_host_only(uplink: UplinkKit, url: str) -> None:
    raw = render_address(url, SPOOL_ID, KEY)
    with pytest.raises(SettingsError, match=r"is not encrypted.*allow_plain_http"):
        read_gateway_url(follow(uplink, raw))
    assert read_gateway_url(follow(uplink, raw, allow_plain_http=True)) == url


@pytest.mark.parametrize("content", ["http://[", "<html>", "http://a:1\nhttp://b:2"])
def test_a_proved_file_without_an_address_is_named(uplink: UplinkKit, content: str) -> None:
    with pytest.raises(SettingsError, match=r"in/address: .*is not the address"):
        read_gateway_url(follow(uplink, render_address(content, SPOOL_ID, KEY)))


def test_a_folder_in_its_place_is_named(uplink: UplinkKit) -> None:
    settings = follow(uplink)
    settings.inbox_folder.address.mkdir()
    with pytest.raises(GatewayAwayError, match="Cannot read"):
        read_gateway_url(settings)


def test_a_proxy_is_taken_from_the_environment_but_not_for_excepted_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "near.example.org")
    proxy = read_proxy("https://far.example.org/x")
    assert proxy is not None
    assert (proxy.url, proxy.variable) == ("http://proxy:3128", "https_proxy")
    assert read_proxy("https://near.example.org/x") is None
    assert read_proxy("http://far.example.org/x") is None


def test_the_sites_own_authority_is_trusted(tmp_path: Path) -> None:
    certificate, _ = make_certificate(tmp_path)
    context = build_tls(certificate)
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.cert_store_stats()["x509_ca"] == 1
    assert isinstance(build_tls(None, {}), ssl.SSLContext)


def test_a_ca_file_without_certificates_is_named(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    for place in (wrong, tmp_path / "none.pem", tmp_path):
        with pytest.raises(
            SettingsError, match=f"Cannot read certificates from {place}, which ca_file names: .*Name a PEM"
        ):
            build_tls(place)
