from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mltm.cli.run import Mltm
from tests.mltm.client.fake_gateway import TOKEN, FakeGateway, run_gateway


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with run_gateway() as running:
        yield running


@pytest.fixture
def mltm(gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mltm:
    for name in ("MLTM_CA", "MLTM_HINT", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    env = {"MLTM_URL": gateway.url, "MLTM_TOKEN": TOKEN, "XDG_CONFIG_HOME": str(tmp_path / "config"), "TZ": "UTC"}
    return Mltm(env, monkeypatch)
