"""What is wrong now, as sentences a person can act on: shown in each heartbeat. Used from several threads."""

import threading

__all__ = ["AlertBoard"]


class AlertBoard:
    """One sentence per place; a place that is well again takes its sentence back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sentences: dict[str, str] = {}

    def show(self, place: str, message: str) -> bool:
        """Put up a sentence; True where it is news (so that it is logged once, not at each try)."""
        with self._lock:
            news = self._sentences.get(place) != message
            self._sentences[place] = message
            return news

    def clear(self, place: str) -> bool:
        """Take the sentence of a place down; True where there was one."""
        with self._lock:
            return self._sentences.pop(place, None) is not None

    def sentences(self) -> list[str]:
        """Everything that is wrong now, in the order it appeared."""
        with self._lock:
            return list(self._sentences.values())
