"""Wake-ups inside the process: whoever waits for a topic is told that something changed. They carry no content."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator

__all__ = ["Wake"]


class Wake:
    """Topics are texts like `command:<id>` or `task:<id>`. A missed wake-up costs a wait, never an answer."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def ring(self, topic: str) -> None:
        """Tell everyone who waits for the topic."""
        for event in self._waiting.get(topic, ()):
            event.set()

    @contextlib.contextmanager
    def listen(self, topic: str) -> Iterator[asyncio.Event]:
        """Give an event that is set at the next ring. Listen before you read, so that you miss nothing."""
        event = asyncio.Event()
        self._waiting[topic].add(event)
        try:
            yield event
        finally:
            self._waiting[topic].discard(event)
            if not self._waiting[topic]:
                del self._waiting[topic]
