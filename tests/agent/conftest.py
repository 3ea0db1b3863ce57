"""Fixtures that several folders here use."""

from tests.agent.disk import small_disk

__all__ = ["small_disk"]
