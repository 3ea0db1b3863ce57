"""What asyncio reports beside every request: logged as events, each kind once a minute."""

import asyncio
from typing import Any

from gateway.front.episode import Episode

__all__ = ["log_loop_errors"]


def log_loop_errors(loop: asyncio.AbstractEventLoop) -> None:
    """Replace asyncio's own log: a client that can cause an error a thousand times a second fills no disk."""
    known: dict[str, Episode] = {}

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        message, error = str(context.get("message", "")), context.get("exception")
        kind = f"{message[:80]} {type(error).__name__}"
        if kind not in known and len(known) >= 100:
            known.clear()
        known.setdefault(kind, Episode("loop_error")).add(loop.time(), message=message[:500], exc_info=error)

    loop.set_exception_handler(handle)
