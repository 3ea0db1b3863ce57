"""Holds new attempts back until the gateway was asked for commands: a cancel may have come while the agent was away.

Advice for the user's sake only: a cancel that is recorded later is obeyed all the same. It calls nobody.
"""

from mltm.contract.agent_api import POLL_WAIT_S
from mltm.runtime.clock import Clock

__all__ = ["MAX_HELD_S", "CommandGate"]

MAX_HELD_S = 10.0  #: then attempts are opened without an answer: the gateway may be away for days
_SILENT_S = 2 * POLL_WAIT_S  #: no poll takes so long, unless this host stood still


class CommandGate:
    """Closed from the agent's start, or a break in contact, until one poll was answered and its commands recorded."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._answered_s = self._broke_s = clock.boot_s()
        self.is_waiting = True  #: no poll has been answered since contact broke

    def note_answer(self) -> None:
        """A poll was answered, and what it brought is on disk."""
        self._answered_s, self.is_waiting = self._clock.boot_s(), False

    def note_failure(self) -> None:
        """A poll failed. More failures of the same break hold nothing back for longer."""
        if not self.is_waiting:
            self._broke_s, self.is_waiting = self._clock.boot_s(), True

    def is_open(self) -> bool:
        """True if attempts may be opened."""
        if self._clock.boot_s() - self._answered_s > _SILENT_S:
            self.note_failure()
        return not self.is_waiting or self._clock.boot_s() - self._broke_s >= MAX_HELD_S
