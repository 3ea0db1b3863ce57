"""What `mltm-gateway check` says of the front's rules, and of who can read what the gateway keeps."""

import os
import resource
from pathlib import Path
from typing import Any

import pytest

from gateway.check import check_all, check_modes, list_notes
from gateway.front.limits import count_connections, count_files
from gateway.settings import GatewaySettings
from mltm.runtime.clock import read_utc_now


def check(folder: Path, name: str, **settings: Any) -> str:
    return dict(check_all(GatewaySettings(data_dir=folder, **settings), [], read_utc_now()))[name]


def set_limit(monkeypatch: pytest.MonkeyPatch, hard: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, hard))


def test_so_many_files_are_enough_for_so_many_connections() -> None:
    for connections in (2, 64, 191, 192, 193, 2000, 10_000):
        assert count_connections(count_files(connections)) >= connections
        assert count_connections(count_files(connections) - 1) < connections


def test_too_few_files_for_the_connections_are_said_with_the_number_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_limit(monkeypatch, 1024)
    said = check(tmp_path, "open files")
    assert "At most 1,024 files may be open here (ulimit -Hn), so there would be 768 connections" in said
    assert "LimitNOFILE=2666" in said
    assert "max_connections = 768" in said

    set_limit(monkeypatch, 2666)
    assert check(tmp_path, "open files") == "ok"
    set_limit(monkeypatch, resource.RLIM_INFINITY)
    assert check(tmp_path, "open files") == "ok"
    assert "at most 49,152 connections" in check(tmp_path, "open files", max_connections=60_000)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "gateway.example", ""])
def test_plain_http_for_other_machines_fails_before_the_start_does(tmp_path: Path, host: str) -> None:
    said = check(tmp_path, "host", host=host)
    assert "Without TLS the gateway does not start on" in said
    assert "tls_cert and tls_key" in said
    assert "allow_plain_http = true" in said


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "127.0.0.2"},
        {"host": "localhost"},
        {"host": "0.0.0.0", "allow_plain_http": True},
        {"host": "0.0.0.0", "tls_cert": Path("none"), "tls_key": Path("none")},
    ],
)
def test_other_hosts_are_right(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert check(tmp_path, "host", **changes) == "ok"


PROXY = {"public_url": "https://gateway.example.org"}


@pytest.mark.parametrize(
    ("changes", "noted"),
    [
        ({}, {}),
        ({"host": "0.0.0.0", "allow_plain_http": True}, {"host": "without TLS"}),
        (PROXY, {"trusted_proxies": "one guesser", "max_connections_per_address": "= 2000"}),
        ({**PROXY, "trusted_proxies": ["127.0.0.1"]}, {"max_connections_per_address": "share 128 connections"}),
        ({**PROXY, "trusted_proxies": ["127.0.0.1"], "max_connections_per_address": 2000}, {}),
        ({"trusted_proxies": ["0.0.0.0/0"]}, {"trusted_proxies": "each can claim to be anybody"}),
        ({**PROXY, "tls_cert": Path("none"), "tls_key": Path("none")}, {}),
        ({"token_days": 365}, {"token_days": "365 days"}),
    ],
)
def test_what_is_allowed_but_weak_is_noted(changes: dict[str, Any], noted: dict[str, str]) -> None:
    found = dict(list_notes(GatewaySettings(**changes)))

    assert found.keys() == noted.keys()
    assert [name for name, message in noted.items() if message not in found[name]] == []


def make_data(folder: Path) -> GatewaySettings:
    settings = GatewaySettings(data_dir=folder / "data")
    for made in (settings.data_dir, settings.staging, settings.files, settings.cache):
        made.mkdir(mode=0o700)
    for file in (settings.database_path, settings.security_log_path, settings.data_dir / "lock"):
        file.touch(mode=0o600)
    return settings


def test_modes_that_let_others_in_are_said_with_the_command(tmp_path: Path) -> None:
    settings = make_data(tmp_path)
    assert check_modes(settings) == "ok"

    settings.data_dir.chmod(0o750)
    settings.database_path.chmod(0o644)
    said = check_modes(settings)
    assert f"{settings.data_dir} has the mode 0750. Run: chmod 700 {settings.data_dir}" in said
    assert f"{settings.database_path} has the mode 0644. Run: chmod 600 {settings.database_path}" in said
    assert said.count("Run: ") == 2


def test_a_database_and_a_log_elsewhere_are_looked_at_too(tmp_path: Path) -> None:
    settings = make_data(tmp_path).model_copy(
        update={"database": str(tmp_path / "db" / "x.sqlite"), "security_log": tmp_path / "log"}
    )
    (tmp_path / "db").mkdir()
    for place in (tmp_path / "db" / "x.sqlite-wal", tmp_path / "log"):
        place.touch()
        place.chmod(0o640)

    assert check_modes(settings).count("chmod 600") == 2


def test_what_belongs_to_another_account_than_the_folder_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_data(tmp_path)
    real = Path.stat

    def give_away(path: Path, **options: Any) -> os.stat_result:
        found = real(path, **options)
        return os.stat_result([*found[:4], found.st_uid + 1, *found[5:]]) if path.name == "security.log" else found

    monkeypatch.setattr(Path, "stat", give_away)

    assert f"chown --reference={settings.data_dir} {settings.security_log_path}" in check_modes(settings)


def test_nothing_there_yet_is_no_finding(tmp_path: Path) -> None:
    assert check_modes(GatewaySettings(data_dir=tmp_path / "none")) == "ok"
