"""Waits for an event inside the process, for so long at most."""

import asyncio

__all__ = ["wait_for_event"]


async def wait_for_event(event: asyncio.Event, timeout_s: float | None) -> bool:
    """Wait until the event is set, then clear it. False if the time is over first; None: no limit."""
    try:
        async with asyncio.timeout(timeout_s if timeout_s is None else max(0.0, timeout_s)):
            await event.wait()
    except TimeoutError:
        return False
    event.clear()
    return True
