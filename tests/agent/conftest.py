"""Fixtures that several folders here use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.disk import mount_disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mount_disk(tmp_path / "disk", "size=1m,nr_inodes=300") as folder:
        yield folder
