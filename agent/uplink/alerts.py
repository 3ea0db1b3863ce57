"""Alerts: what is wrong now, as sentences that a person can act on. Each heartbeat carries them."""

import threading

__all__ = ["AlertBoard"]


class AlertBoard:
    """One sentence for each subject, until it is cleared. May be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sentences: dict[str, str] = {}

    def show(self, subject: str, message: str) -> bool:
        """Show a sentence; True if it is new, so that it is logged once and not at each try."""
        with self._lock:
            is_new = self._sentences.get(subject) != message
            self._sentences[subject] = message
            return is_new

    def clear(self, subject: str) -> bool:
        """Remove the sentence about a subject; True if there was one."""
        with self._lock:
            return self._sentences.pop(subject, None) is not None

    def sentences(self) -> list[str]:
        """Everything that is wrong now, the oldest first."""
        with self._lock:
            return list(self._sentences.values())
