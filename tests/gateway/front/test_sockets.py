"""Plain HTTP stays on this machine, unless a setting says otherwise."""

import re
import resource
import socket
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.errors import UnavailableError
from gateway.front.limits import fit_limits, raise_file_limit
from gateway.front.sockets import open_sockets
from gateway.settings import GatewaySettings


async def listen(folder: Path, **settings: Any) -> list[str]:
    opened = await open_sockets(GatewaySettings(data_dir=folder, port=0, **settings))
    addresses = [one.getsockname()[0] for one in opened]
    for one in opened:
        one.close()
    return addresses


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::"])
async def test_plain_http_for_other_machines_is_refused_in_words(tmp_path: Path, host: str) -> None:
    if host == "::" and not socket.has_dualstack_ipv6():
        host = "0.0.0.0"
    with pytest.raises(UnavailableError, match="Without TLS everybody") as refused:
        await listen(tmp_path, host=host, public_url="https://gateway.example.org")

    assert refused.value.key == "plain_http"
    assert "allow_plain_http = true" in refused.value.next_step


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost"])
async def test_plain_http_on_this_machine_needs_no_setting(tmp_path: Path, host: str) -> None:
    with capture_logs() as logs:
        assert await listen(tmp_path, host=host, public_url="https://gateway.example.org")
    assert logs == []


async def test_plain_http_that_is_allowed_is_said_at_each_start(tmp_path: Path) -> None:
    for _ in range(2):
        with capture_logs() as logs:
            assert await listen(tmp_path, host="0.0.0.0", allow_plain_http=True) == ["0.0.0.0"]
        assert [(line["event"], line["log_level"]) for line in logs] == [("plain_http", "warning")]


async def test_tls_needs_no_setting(tmp_path: Path) -> None:
    assert await listen(tmp_path, host="0.0.0.0", tls_cert=tmp_path / "c", tls_key=tmp_path / "k") == ["0.0.0.0"]


@pytest.mark.parametrize(("files", "allowed"), [(1024, 768), (100, 36), (65_536, 2000)])
def test_connections_leave_descriptors_for_everything_else(tmp_path: Path, files: int, allowed: int) -> None:
    with capture_logs() as logs:
        assert fit_limits(GatewaySettings(data_dir=tmp_path), files).connections == allowed
    assert bool(logs) == (allowed < 2000)


@pytest.mark.parametrize(
    ("soft", "hard", "wanted"),
    [(1024, 4096, 4096), (1024, 1024, 1024), (1024, 2**30, 65_536), (1024, -1, 65_536), (100_000, 2**30, 100_000)],
)
def test_the_limit_of_open_files_is_raised(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, wanted: int) -> None:
    now = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: now[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: now.append(limits))

    assert raise_file_limit() == wanted
    assert now[-1] == (wanted, hard)


def test_the_unit_allows_as_many_files_as_the_default_connections_need() -> None:
    unit = (Path(__file__).parents[3] / "systemd" / "mltm-gateway.service").read_text()
    found = re.search(r"^LimitNOFILE=(\d+)$", unit, re.MULTILINE)

    assert found is not None
    assert fit_limits(GatewaySettings(), int(found[1])).connections == GatewaySettings().max_connections
