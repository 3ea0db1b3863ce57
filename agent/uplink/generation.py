"""Notices that the gateway was restored or migrated: its generation differs from the one that this spool saw last."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from agent.errors import AgentError
from agent.uplink.alerts import AlertBoard
from mltm.runtime import files
from mltm.runtime.clock import Clock

__all__ = ["GenerationWatch"]

_log = structlog.get_logger(__name__)


class GenerationWatch:
    """Keeps the generation in the spool. A new one is written only after everything was put into the outbox."""

    def __init__(
        self, path: Path, on_new_generation: Callable[[], Awaitable[None]], alerts: AlertBoard, clock: Clock
    ) -> None:
        self._path = path
        self._on_new_generation = on_new_generation
        self._alerts = alerts
        self._clock = clock
        self._lock = asyncio.Lock()
        self._known: str | None = None

    async def compare(self, generation: str) -> None:
        """Compare an answer's generation. If this fails, it is tried again at the next answer."""
        if generation == self._known:
            return
        async with self._lock:
            try:
                await self._compare_file(generation)
            except (OSError, AgentError) as error:
                if self._alerts.show("generation", f"Cannot report every task to the restored gateway yet: {error}"):
                    _log.warning("report_again_failed", error=str(error))

    async def _compare_file(self, generation: str) -> None:
        if generation != self._known:
            remembered = await asyncio.to_thread(files.read_bytes, self._path)
            if remembered != generation.encode():
                _log.info("gateway_generation_changed", generation=generation)
                await self._on_new_generation()
                await asyncio.to_thread(files.replace, self._path, generation.encode(), self._clock.nonce())
        self._known = generation
        self._alerts.clear("generation")
