"""Logs what comes thousands of times a second once: at the start of an episode, and how often at its end."""

import structlog

__all__ = ["Episode"]

_log = structlog.get_logger(__name__)


class Episode:
    """A trouble that comes and goes. It has ended when it has not come for `quiet_s`."""

    def __init__(self, event: str, quiet_s: float = 60.0) -> None:
        self._event, self._quiet_s = event, quiet_s
        self._last_s, self._count = 0.0, 0

    def add(self, now: float, **facts: object) -> None:
        """It came once more."""
        self.look(now)
        if not self._count:
            _log.warning(self._event, **facts)
        self._last_s, self._count = now, self._count + 1

    def look(self, now: float) -> None:
        """Say that the episode is over, if it is."""
        if self._count and now - self._last_s > self._quiet_s:
            _log.info("episode_over", of=self._event, times=self._count)
            self._count = 0
