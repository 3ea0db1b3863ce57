import json
import ssl
import stat
from pathlib import Path

import pytest

from agent.errors import AgentError, GatewayAwayError, SettingsError
from agent.settings import AgentSettings
from agent.uplink.address import build_tls, check_gateway_url, read_gateway_url, read_proxy
from agent.uplink.credential import Credential, read_credential, write_credential
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
        ("http://g/mltm//", "http://g/mltm"),
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


def from_spool(uplink: UplinkKit) -> AgentSettings:
    return uplink.settings.model_copy(update={"gateway_url": None})


def test_the_config_goes_before_the_spool(uplink: UplinkKit) -> None:
    uplink.spool.gateway_url.write_text("http://elsewhere:1\n")
    assert read_gateway_url(uplink.settings) == uplink.url
    assert read_gateway_url(from_spool(uplink)) == "http://elsewhere:1"


def test_without_an_address_the_gateway_is_away_and_the_place_is_named(uplink: UplinkKit) -> None:
    with pytest.raises(GatewayAwayError, match=r"The gateway is not up: there is no /.*/gateway\.url"):
        read_gateway_url(from_spool(uplink))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"http://[", b"<html>", b"http://a:1\nhttp://b:2\n"])
def test_garbage_in_the_spool_is_an_error_in_words_that_names_the_file(uplink: UplinkKit, content: bytes) -> None:
    uplink.spool.gateway_url.write_bytes(content)
    with pytest.raises(SettingsError, match=r"gateway\.url: .*is not the address"):
        read_gateway_url(from_spool(uplink))


def test_a_folder_in_its_place_is_an_error_in_words(uplink: UplinkKit) -> None:
    uplink.spool.gateway_url.mkdir()
    with pytest.raises(AgentError, match="Cannot read"):
        read_gateway_url(from_spool(uplink))


def test_a_proxy_is_taken_from_the_environment_but_not_for_excepted_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "near.example.org")
    assert read_proxy("https://far.example.org/x") == "http://proxy:3128"
    assert read_proxy("https://near.example.org/x") is None
    assert read_proxy("http://far.example.org/x") is None


def test_the_sites_own_authority_is_trusted(tmp_path: Path) -> None:
    certificate, _ = make_certificate(tmp_path)
    context = build_tls(certificate)
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.cert_store_stats()["x509_ca"] == 1
    assert build_tls(None) is True


def test_a_ca_file_without_certificates_is_named(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    for place in (wrong, tmp_path / "none.pem", tmp_path):
        with pytest.raises(SettingsError, match=f"ca_file: cannot read certificates from {place}.*Name a PEM file"):
            build_tls(place)
