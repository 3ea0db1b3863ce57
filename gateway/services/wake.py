"""Wake-ups inside the process: whoever waits for a topic is told that something changed. They carry no content."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator

__all__ = ["Wake", "wait_for"]


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


async def wait_for(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, so long at most; True where it was set. Clears it."""
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    except TimeoutError:
        return False
    event.clear()
    return True
