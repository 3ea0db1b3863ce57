"""Logs and outputs on the cluster: a command asks for bytes, the agent brings them, a cache keeps them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from gateway.errors import AgentSilentError, ConflictError, InvalidError, NotFoundError
from gateway.services.piece_files import PieceTooLongError, open_piece, receive_piece, remove_pieces
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
_LOG = "log"


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
        self._asked: dict[_Wanted, str] = {}
        self._delivering: set[str] = set()

    @asynccontextmanager
    async def read_log(
        self, user: User, task_id: str, *, offset: int, length: int, attempt: int | None = None, wait_s: float
    ) -> AsyncIterator[FilePiece]:
        """Open a piece of the log; a negative offset counts from the end. Raises AgentSilentError, NotFoundError."""
        agent_id = await self._database.read(find_agent_id, user, task_id)
        wanted = _Wanted(task_id, agent_id, "send_bytes", _LOG, attempt or 0, offset, min(length, _MAX_BYTES))
        async with self._read(wanted, wait_s) as piece:
            yield piece

    @asynccontextmanager
    async def read_output(
        self, user: User, task_id: str, path: str, offset: int, length: int, wait_s: float
    ) -> AsyncIterator[FilePiece]:
        """Open a piece of an output file. Raises AgentSilentError, NotFoundError (output_not_found)."""
        agent_id = await self._database.read(find_agent_id, user, task_id)
        file = f"outputs/{path}"
        wanted = _Wanted(task_id, agent_id, "send_bytes", file, 0, offset, min(length, _MAX_BYTES))
        async with self._read(wanted, wait_s) as piece:
            yield piece

    async def list_outputs(self, user: User, task_id: str, wait_s: float) -> Outputs:
        """List the files in the outputs folder. Raises AgentSilentError."""
        agent_id = await self._database.read(find_agent_id, user, task_id)
        _, ack = await self._ask(_Wanted(task_id, agent_id, "list_outputs"), wait_s)
        return Outputs(task_id=task_id, files=ack.outputs or [])

    @asynccontextmanager
    async def _read(self, wanted: _Wanted, wait_s: float) -> AsyncIterator[FilePiece]:
        async with AsyncExitStack() as stack:
            piece = await self._open_cached(stack, wanted)
            if piece is None:
                command_id, _ = await self._ask(wanted, wait_s)
                found = await self._database.read(cache.find_piece, command_id)
                piece = await self._open(stack, found, 0, found.length) if found else None
            if piece is None:
                raise AgentSilentError("The cache removed the bytes of the agent before they were read.")
            yield piece

    async def _open_cached(self, stack: AsyncExitStack, wanted: _Wanted) -> FilePiece | None:
        """Open a cached piece of a file that no longer grows; it is served even while the agent is away."""
        attempt: int | None = wanted.attempt
        if wanted.file == _LOG and not attempt:  # the newest one's: while the task runs, only the agent knows which
            attempt = await self._database.read(cache.find_last_attempt, wanted.task_id)
        if wanted.offset < 0 or attempt is None:
            return None
        args = (wanted.task_id, wanted.file, attempt, wanted.offset)
        piece = await self._database.read(cache.find_final, *args)
        if piece is None:
            return None
        skip = max(0, wanted.offset - piece.start)
        return await self._open(stack, piece, skip, min(wanted.length, piece.length - skip))

    async def _open(self, stack: AsyncExitStack, piece: cache.CachedPiece, skip: int, length: int) -> FilePiece | None:
        """Open the piece's file until the stack ends; None if the cache has removed it."""
        place = self._settings.cache / piece.piece_id
        try:
            descriptor = await stack.enter_async_context(open_piece(place))
        except FileNotFoundError:
            return None
        return FilePiece(descriptor, skip, length, piece.start + skip, piece.size, final=piece.final)

    async def _ask(self, wanted: _Wanted, wait_s: float) -> tuple[str, Ack]:
        """Ask, or join the command that asks for the same, and wait. Returns the command's id and its answer."""
        until_s = self._clock.boot_s() + wait_s
        command_id = self._asked.setdefault(wanted, self._clock.new_id())
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
            self._asked.pop(wanted, None)
        if ack.outcome == "refused":
            key = "output_not_found" if wanted.file.startswith("outputs/") else "log_not_found"
            raise NotFoundError(ack.message or "The file does not exist.", key=key, title="No such file")
        return command_id, ack

    async def deliver_bytes(
        self, agent: AgentIdentity, command_id: str, headers: BytesHeaders, blocks: AsyncIterator[bytes]
    ) -> Answer:
        """Take the bytes that a send_bytes command asked for; a repetition is harmless, and changes nothing.

        Raises NotFoundError (command_not_found), InvalidError (no_bytes_wanted, bad_bytes), ConflictError
        (delivery_under_way), DiskFullError.
        """
        command = await self._database.read(find_question, agent, command_id)
        if command is None:  # it is closed: nobody waits for them
            async for _ in blocks:
                pass
            return Answer(generation=self._generation)
        if command_id in self._delivering:
            raise ConflictError(
                f"The bytes for command {command_id} are being delivered by another request.",
                key="delivery_under_way",
                next_step="Leave it to that request.",
            )
        self._delivering.add(command_id)
        try:
            await self._take(agent, command, headers, blocks)
        finally:
            self._delivering.discard(command_id)
        self._wake.ring(f"command:{command_id}")
        return Answer(generation=self._generation)

    async def _take(
        self, agent: AgentIdentity, command: CommandMessage, headers: BytesHeaders, blocks: AsyncIterator[bytes]
    ) -> None:
        place = self._settings.cache / command.command_id
        try:
            async with receive_piece(place, blocks, command.length) as length:
                piece = _build_piece(command, headers, length)
        except PieceTooLongError as error:
            raise _refuse_bytes(command, headers, error.length) from error
        await self._database.call(cache.add_answer, agent, piece, self._clock.now())
        limits = (self._settings.max_cache_bytes, self._clock.now() - QUESTION_LIFE)
        dropped = await self._database.call(cache.drop_old, *limits)
        await asyncio.to_thread(remove_pieces, [self._settings.cache / old.piece_id for old in dropped])


def _build_piece(command: CommandMessage, headers: BytesHeaders, length: int) -> cache.CachedPiece:
    """Describe the bytes that came. Raises InvalidError (bad_bytes)."""
    is_elsewhere = command.offset >= 0 and (
        headers.offset < command.offset or (command.file != _LOG and headers.offset != command.offset)
    )
    is_of_another = command.attempt is not None and headers.attempt not in (None, command.attempt)
    if is_of_another or (length and (is_elsewhere or headers.offset + length > headers.size)):
        raise _refuse_bytes(command, headers, length)
    # A negative offset counts from the end: the answer says nothing about what is before.
    asked = headers.offset if command.offset < 0 else min(command.offset, headers.offset)
    attempt = (command.attempt or headers.attempt or 0) if command.file == _LOG else 0
    return cache.CachedPiece(
        command.command_id, command.task_id, command.file, attempt, asked, headers.offset, length, headers.size,
        headers.final,
    )  # fmt: skip


def _refuse_bytes(command: CommandMessage, headers: BytesHeaders, length: int) -> InvalidError:
    return InvalidError(
        f"These bytes do not answer command {command.command_id}: {length:,} bytes from {headers.offset:,} on, of "
        f"{headers.size:,}. The command asks for at most {command.length:,} from {command.offset:,} on, all within "
        "the file.",
        key="bad_bytes",
        next_step="Send the bytes that were asked for, with X-Mltm-Offset and X-Mltm-Size of the same file.",
    )
