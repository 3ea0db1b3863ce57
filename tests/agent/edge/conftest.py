from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aioresponses import aioresponses
from structlog.testing import capture_logs

from agent.gateway_client import GatewayClient
from tests.agent.edge.build import SECRET, Edge


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    """After every test: no secret in any line of the log, in any problem shown, or beside what was set aside."""
    made = Edge(tmp_path)
    with capture_logs() as lines:
        yield made
    said = [str(lines), *made.board.sentences(), *made.set_aside().values()]
    assert not [words for words in said if SECRET in words]


@pytest.fixture
async def client(edge: Edge) -> AsyncIterator[GatewayClient]:
    async with AsyncExitStack() as stack:
        yield await edge.open_client(stack)


@pytest.fixture
def gateway() -> Iterator[aioresponses]:
    with aioresponses() as mocked:
        yield mocked
