"""Logs and outputs on the cluster: a command asks for bytes, the agent brings them, a cache keeps them."""

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import AgentSilentError, InvalidError, NotFoundError
from gateway.services.wake import Wake
from gateway.settings import GatewaySettings
from gateway.store import cache
from gateway.store.commands import QUESTION_LIFE, add_question, find_question, read_closed
from gateway.store.database import Database
from gateway.store.tasks import find_agent_id
from gateway.values import AgentIdentity, FilePiece, User
from mltm.contract.agent_api import Ack, Answer, BytesHeaders, CommandKind, CommandMessage
from mltm.contract.user_api import Outputs
from mltm.runtime.clock import Clock
from mltm.runtime.events import wait_for_event

__all__ = ["ClusterFiles"]

_MAX_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class _Wanted:
    """A piece of a file, or (kind list_outputs) the list of output files."""

    task_id: str
    agent_id: str
    kind: CommandKind
    file: str = ""
    attempt: int = 0
    offset: int = 0
    length: int = 0

    def build_command(self, command_id: str) -> CommandMessage:
        """The command that asks the agent for it."""
        return CommandMessage(
            command_id=command_id, kind=self.kind, task_id=self.task_id, file=self.file,
            attempt=self.attempt or None, offset=self.offset, length=self.length,
        )  # fmt: skip


class ClusterFiles:
    """Readers who want the same bytes at the same time share one command."""

    def __init__(
        self, database: Database, settings: GatewaySettings, clock: Clock, wake: Wake, *, generation: str
    ) -> None:
        self._database, self._settings, self._clock, self._wake = database, settings, clock, wake
        self._generation = generation
        self._open: dict[_Wanted, str] = {}

    async def read_log(
        self, user: User, task_id: str, *, offset: int, length: int, attempt: int | None = None, wait_s: float
    ) -> FilePiece:
        """Read a piece of the log; a negative offset counts from the end. Raises AgentSilentError, NotFoundError."""
        agent_id = await self._database.read(find_agent_id, user, task_id)
        wanted = _Wanted(task_id, agent_id, "send_bytes", "log", attempt or 0, offset, min(length, _MAX_BYTES))
        return await self._read(wanted, wait_s)

    async def read_output(
        self, user: User, task_id: str, path: str, offset: int, length: int, wait_s: float
    ) -> FilePiece:
        """Read a piece of an output file. Raises AgentSilentError, NotFoundError (output_not_found)."""
        agent_id = await self._database.read(find_agent_id, user, task_id)
        file = f"outputs/{path}"
        wanted = _Wanted(task_id, agent_id, "send_bytes", file, 0, offset, min(length, _MAX_BYTES))
        return await self._read(wanted, wait_s)

    async def list_outputs(self, user: User, task_id: str, wait_s: float) -> Outputs:
        """List the files in the outputs folder. Raises AgentSilentError."""
        agent_id = await self._database.read(find_agent_id, user, task_id)
        _, ack = await self._ask(_Wanted(task_id, agent_id, "list_outputs"), wait_s)
        return Outputs(task_id=task_id, files=ack.outputs or [])

    async def _read(self, wanted: _Wanted, wait_s: float) -> FilePiece:
        cached = await self._find_cached(wanted)
        if cached is not None:
            return cached
        command_id, _ = await self._ask(wanted, wait_s)
        piece = await self._database.read(cache.find_piece, command_id)
        data = await asyncio.to_thread(_read_piece, self._settings, piece) if piece else None
        if piece is None or data is None:
            raise AgentSilentError("The cache removed the bytes of the agent before they were read.")
        return FilePiece(data, piece.start, piece.size, final=piece.final)

    async def _find_cached(self, wanted: _Wanted) -> FilePiece | None:
        """A cached piece of a file that no longer grows; it is served even while the agent is away."""
        if wanted.offset < 0:
            return None
        args = (wanted.task_id, wanted.file, wanted.attempt, wanted.offset)
        piece = await self._database.read(cache.find_final, *args)
        if piece is None:
            return None
        data = await asyncio.to_thread(_read_piece, self._settings, piece)
        if data is None:
            return None
        start = max(wanted.offset, piece.start)
        cut = data[start - piece.start : start - piece.start + wanted.length]
        return FilePiece(cut, start, piece.size, final=True)

    async def _ask(self, wanted: _Wanted, wait_s: float) -> tuple[str, Ack]:
        """Ask, or join the command that asks for the same, and wait. Returns the command's id and its answer."""
        until_s = self._clock.boot_s() + wait_s
        command_id = self._open.setdefault(wanted, self._clock.new_id())
        try:
            with self._wake.listen(f"command:{command_id}") as answered:
                await self._database.call(
                    add_question, wanted.agent_id, wanted.build_command(command_id), self._clock.now()
                )
                self._wake.ring("commands")
                while (ack := await self._database.read(read_closed, command_id)) is None:
                    if not await wait_for_event(answered, until_s - self._clock.boot_s()):
                        raise AgentSilentError(
                            f"The agent of task {wanted.task_id} did not answer within {wait_s:.0f} s."
                        )
        finally:
            self._open.pop(wanted, None)
        if ack.outcome == "refused":
            key = "output_not_found" if wanted.file.startswith("outputs/") else "log_not_found"
            raise NotFoundError(ack.message or "The file does not exist.", key=key, title="No such file")
        return command_id, ack

    async def deliver_bytes(self, agent: AgentIdentity, command_id: str, headers: BytesHeaders, data: bytes) -> Answer:
        """Take the bytes that a send_bytes command asked for; a repetition is harmless.

        Raises NotFoundError (command_not_found), InvalidError (no_bytes_wanted, bad_bytes).
        """
        command = await self._database.read(find_question, agent, command_id)
        piece = _build_piece(command, headers, len(data))
        await asyncio.to_thread(_store, self._settings, piece, data)
        await self._database.call(cache.add_answer, agent, piece, self._clock.now())
        limits = (self._settings.max_cache_bytes, self._clock.now() - QUESTION_LIFE)
        dropped = await self._database.call(cache.drop_old, *limits)
        await asyncio.to_thread(_remove, self._settings, dropped)
        self._wake.ring(f"command:{command_id}")
        return Answer(generation=self._generation)


def _build_piece(command: CommandMessage, headers: BytesHeaders, length: int) -> cache.CachedPiece:
    """Describe the bytes that came. Raises InvalidError (bad_bytes)."""
    if length > command.length or (length and headers.offset + length > headers.size):
        raise InvalidError(
            f"These bytes do not answer command {command.command_id}: {length:,} bytes from {headers.offset:,} on, of "
            f"{headers.size:,}. The command asks for at most {command.length:,}, all within the file.",
            key="bad_bytes",
            next_step="Send the bytes that were asked for, with X-Mltm-Offset and X-Mltm-Size of the same file.",
        )
    # A negative offset counts from the end: the answer says nothing about what is before.
    asked = headers.offset if command.offset < 0 else min(command.offset, headers.offset)
    return cache.CachedPiece(
        command.command_id, command.task_id, command.file, command.attempt or 0, asked, headers.offset, length,
        headers.size, headers.final,
    )  # fmt: skip


def _place(settings: GatewaySettings, piece_id: str) -> Path:
    return settings.cache / piece_id


def _store(settings: GatewaySettings, piece: cache.CachedPiece, data: bytes) -> None:
    place = _place(settings, piece.piece_id)
    place.parent.mkdir(parents=True, exist_ok=True)
    building = place.with_suffix(".part")
    building.write_bytes(data)
    building.replace(place)


def _remove(settings: GatewaySettings, pieces: list[cache.CachedPiece]) -> None:
    for piece in pieces:
        _place(settings, piece.piece_id).unlink(missing_ok=True)


def _read_piece(settings: GatewaySettings, piece: cache.CachedPiece) -> bytes | None:
    with contextlib.suppress(OSError):
        return _place(settings, piece.piece_id).read_bytes()
    return None
