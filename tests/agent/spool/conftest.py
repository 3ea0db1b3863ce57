"""The spool of each test."""

from pathlib import Path

import pytest

from tests.agent.spool.build import Hands


@pytest.fixture
def hands(tmp_path: Path) -> Hands:
    """A prepared spool."""
    return Hands(tmp_path / "spool")
