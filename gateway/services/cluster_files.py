"""Bytes of files on the cluster: asked for by a command, brought by the agent, kept in a cache."""

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gateway.errors import AgentSilentError, InvalidError, NotFoundError
from gateway.services.wake import Wake
from gateway.settings import GatewaySettings
from gateway.store import cache
from gateway.store.commands import (
    QUESTION_LIFE,
    add_command,
    close_answered,
    drop_expired,
    find_command,
    read_closed,
)
from gateway.store.database import Database
from gateway.store.models import Command, Task
from gateway.store.tasks import find_task
from gateway.values import AgentIdentity, Chunk, User
from mltm.contract.agent_api import Ack, Answer, BytesHeaders, CommandKind, CommandMessage
from mltm.contract.user_api import Outputs
from mltm.runtime.clock import Clock
from mltm.runtime.events import wait_for_event

__all__ = ["Relay"]


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


class Relay:
    """Implements services.RelayPort."""

    def __init__(
        self, database: Database, settings: GatewaySettings, clock: Clock, wake: Wake, *, generation: str
    ) -> None:
        self._database, self._settings, self._clock, self._wake = database, settings, clock, wake
        self._generation = generation
        self._open: dict[_Wanted, str] = {}

    async def read_log(
        self, user: User, task_id: str, *, offset: int, length: int, attempt: int | None = None, wait_s: float
    ) -> Chunk:
        """Read a piece of the log; a negative offset counts from the end. Raises AgentSilentError, NotFoundError."""
        agent_id = await self._database.read(_find_agent, user, task_id)
        wanted = _Wanted(task_id, agent_id, "send_bytes", "log", attempt or 0, offset, min(length, _MAX_BYTES))
        return await self._read(wanted, wait_s)

    async def read_output(self, user: User, task_id: str, path: str, offset: int, length: int, wait_s: float) -> Chunk:
        """Read a piece of an output file. Raises AgentSilentError, NotFoundError (output_not_found)."""
        agent_id = await self._database.read(_find_agent, user, task_id)
        file = f"outputs/{path}"
        wanted = _Wanted(task_id, agent_id, "send_bytes", file, 0, offset, min(length, _MAX_BYTES))
        return await self._read(wanted, wait_s)

    async def list_outputs(self, user: User, task_id: str, wait_s: float) -> Outputs:
        """List the files in the outputs folder. Raises AgentSilentError."""
        agent_id = await self._database.read(_find_agent, user, task_id)
        _, ack = await self._ask(_Wanted(task_id, agent_id, "list_outputs"), wait_s)
        return Outputs(task_id=task_id, files=ack.outputs or [])

    async def _read(self, wanted: _Wanted, wait_s: float) -> Chunk:
        kept = await self._find_kept(wanted)
        if kept is not None:
            return kept
        command_id, _ = await self._ask(wanted, wait_s)
        piece = await self._database.read(cache.find_piece, command_id)
        data = await asyncio.to_thread(_read_piece, self._settings, piece) if piece else None
        if piece is None or data is None:
            raise AgentSilentError("What the agent sent was cleared away again before it was read.")
        return Chunk(data, piece.start, piece.size, final=piece.final)

    async def _find_kept(self, wanted: _Wanted) -> Chunk | None:
        """A piece of a file that will not grow any more; served even while the agent is away."""
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
        return Chunk(cut, start, piece.size, final=True)

    async def _ask(self, wanted: _Wanted, wait_s: float) -> tuple[str, Ack]:
        """Make the command, or join the one that asks for the same; wait until it is closed. Its id and its answer."""
        until_s = self._clock.boot_s() + wait_s
        command_id = self._open.setdefault(wanted, self._clock.new_id())
        try:
            with self._wake.listen(f"command:{command_id}") as answered:
                await self._database.call(_add_once, wanted, command_id, self._clock.now())
                self._wake.ring("commands")
                while (ack := await self._database.read(read_closed, command_id)) is None:
                    if not await wait_for_event(answered, until_s - self._clock.boot_s()):
                        raise AgentSilentError(f"The agent of task {wanted.task_id} did not answer in {wait_s:.0f} s.")
        finally:
            self._open.pop(wanted, None)
        if ack.outcome == "refused":
            key = "output_not_found" if wanted.file.startswith("outputs/") else "log_not_found"
            raise NotFoundError(ack.message or "The file is not there.", key=key, title="No such file")
        return command_id, ack

    async def deliver_bytes(self, agent: AgentIdentity, command_id: str, headers: BytesHeaders, data: bytes) -> Answer:
        """Take what a send_bytes command asked for; again is harmless.

        Raises NotFoundError (command_not_found), InvalidError (no_bytes_wanted, bad_bytes).
        """
        command = await self._database.read(_find_question, agent, command_id)
        piece = _build_piece(command, headers, len(data))
        await asyncio.to_thread(_store, self._settings, piece, data)
        await self._database.call(_note_piece, agent, piece, self._clock.now())
        limits = (self._settings.max_cache_bytes, self._clock.now() - QUESTION_LIFE)
        dropped = await self._database.call(cache.drop_old, *limits)
        await asyncio.to_thread(_remove, self._settings, dropped)
        self._wake.ring(f"command:{command_id}")
        return Answer(generation=self._generation)


def _find_agent(user: User, task_id: str) -> str:
    row: Task = find_task(user, task_id)
    return str(row.agent_id)


def _find_question(agent: AgentIdentity, command_id: str) -> CommandMessage:
    row = find_command(agent, command_id)
    if row.kind != "send_bytes":
        raise InvalidError(
            f"Command {command_id} ({row.kind}) does not ask for bytes.",
            key="no_bytes_wanted",
            next_step="Acknowledge it: POST …/ack.",
        )
    return CommandMessage.model_validate_json(row.body)


def _build_piece(command: CommandMessage, headers: BytesHeaders, length: int) -> cache.Piece:
    """What is known of the bytes that came. Raises InvalidError (bad_bytes)."""
    if length > command.length or (length and headers.offset + length > headers.size):
        raise InvalidError(
            f"{length:,} bytes from {headers.offset:,} on, of {headers.size:,}, do not answer command "
            f"{command.command_id}: it asks for {command.length:,} at most, and none is behind the file's end.",
            key="bad_bytes",
            next_step="Send the bytes that were asked for, with X-Mltm-Offset and X-Mltm-Size of the same file.",
        )
    # Asked for from the end: nothing is said of what is before.
    asked = headers.offset if command.offset < 0 else min(command.offset, headers.offset)
    return cache.Piece(
        command.command_id, command.task_id, command.file, command.attempt or 0, asked, headers.offset, length,
        headers.size, headers.final,
    )  # fmt: skip


def _add_once(wanted: _Wanted, command_id: str, now: datetime) -> None:
    drop_expired(now)
    if Command.get_or_none(Command.command_id == command_id) is None:
        command = CommandMessage(
            command_id=command_id, kind=wanted.kind, task_id=wanted.task_id, file=wanted.file,
            attempt=wanted.attempt or None, offset=wanted.offset, length=wanted.length,
        )  # fmt: skip
        add_command(wanted.agent_id, command, now)


def _note_piece(agent: AgentIdentity, piece: cache.Piece, now: datetime) -> None:
    cache.add_piece(piece, now)
    close_answered(agent, piece.piece_id, now)


def _place(settings: GatewaySettings, piece_id: str) -> Path:
    return settings.cache / piece_id


def _store(settings: GatewaySettings, piece: cache.Piece, data: bytes) -> None:
    place = _place(settings, piece.piece_id)
    place.parent.mkdir(parents=True, exist_ok=True)
    building = place.with_suffix(".part")
    building.write_bytes(data)
    building.replace(place)


def _remove(settings: GatewaySettings, pieces: list[cache.Piece]) -> None:
    for piece in pieces:
        _place(settings, piece.piece_id).unlink(missing_ok=True)


def _read_piece(settings: GatewaySettings, piece: cache.Piece) -> bytes | None:
    with contextlib.suppress(OSError):
        return _place(settings, piece.piece_id).read_bytes()
    return None
