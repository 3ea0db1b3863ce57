from collections.abc import Iterator

import pytest

from tests.mltm.client.fake_gateway import FakeGateway, run_gateway


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with run_gateway() as running:
        yield running
