"""Fixtures that several folders here use."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.agent.spool.build import Hands
from tests.agent.uplink.build import SECRET, Edge
from tests.disk import mount_disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mount_disk(tmp_path / "disk", "size=1m,nr_inodes=300") as folder:
        yield folder


@pytest.fixture
def hands(tmp_path: Path) -> Hands:
    """A prepared spool."""
    return Hands(tmp_path / "spool")


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    """After every test: no secret in any line of the log, in any problem shown, or beside what was set aside."""
    made = Edge(tmp_path)
    with capture_logs() as lines:
        yield made
    said = [str(lines), *made.board.sentences(), *made.set_aside().values()]
    assert not [message for message in said if SECRET in message]
