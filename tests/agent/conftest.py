"""Fixtures that several folders here use."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.agent.spool.build import SpoolKit
from tests.agent.uplink.build import SECRET, UplinkKit
from tests.disk import mount_disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mount_disk(tmp_path / "disk", "size=1m,nr_inodes=300") as folder:
        yield folder


@pytest.fixture
def kit(tmp_path: Path) -> SpoolKit:
    """A prepared spool."""
    return SpoolKit(tmp_path / "spool")


@pytest.fixture
def uplink(tmp_path: Path) -> Iterator[UplinkKit]:
    """After every test: no secret in any line of the log, in any problem shown, or beside what was set aside."""
    made = UplinkKit(tmp_path)
    with capture_logs() as lines:
        yield made
    said = [str(lines), *made.alerts.sentences(), *made.set_aside().values()]
    assert not [message for message in said if SECRET in message]
