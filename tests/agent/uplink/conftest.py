from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
from aioresponses import aioresponses

from agent.uplink.client import GatewayClient
from tests.agent.uplink.build import UplinkKit


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


@pytest.fixture
async def client(uplink: UplinkKit, stack: AsyncExitStack) -> GatewayClient:
    return await uplink.open_client(stack)


@pytest.fixture
def gateway() -> Iterator[aioresponses]:
    with aioresponses() as mocked:
        yield mocked
