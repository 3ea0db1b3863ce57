"""The files of the cache: pieces of logs and outputs. They come and go in small blocks; none is in memory whole."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Final

from gateway.services.disk import run_on_disk, run_to_end
from gateway.values import FilePiece

__all__ = ["PieceTooLongError", "open_piece", "read_blocks", "receive_piece", "remove_pieces"]

BLOCK_BYTES: Final = 256 * 1024


class PieceTooLongError(Exception):
    """More bytes come than were asked for. `length`: those that came until then."""

    def __init__(self, length: int) -> None:
        super().__init__(f"{length:,} bytes")
        self.length = length


@contextlib.asynccontextmanager
async def receive_piece(place: Path, blocks: AsyncIterator[bytes], max_bytes: int) -> AsyncIterator[int]:
    """Write the blocks beside `place`, and give their length; with the context's good end they are in place.

    Raises PieceTooLongError, DiskFullError, UnavailableError.
    """
    building = place.with_suffix(".part")
    try:
        await run_on_disk(_start, building)
        length = 0
        async for block in blocks:
            length += len(block)
            if length > max_bytes:
                raise PieceTooLongError(length)
            await run_on_disk(_append, building, block)
        yield length
        await run_on_disk(building.replace, place)
    finally:
        await run_on_disk(building.unlink, missing_ok=True)


def _start(building: Path) -> None:
    building.parent.mkdir(parents=True, exist_ok=True)
    building.write_bytes(b"")


def _append(building: Path, block: bytes) -> None:
    with building.open("ab") as file:
        file.write(block)


@contextlib.asynccontextmanager
async def open_piece(place: Path) -> AsyncIterator[int]:
    """Open a piece's file; its bytes stay even if the cache removes it meanwhile. Raises FileNotFoundError."""
    descriptor = await run_to_end(asyncio.to_thread(os.open, place, os.O_RDONLY | os.O_CLOEXEC))
    try:
        yield descriptor
    finally:
        await run_on_disk(os.close, descriptor)


async def read_blocks(piece: FilePiece) -> AsyncIterator[bytes]:
    """The bytes of an open piece, block by block; fewer than `length` if its file is damaged."""
    done = 0
    while done < piece.length:
        wanted = min(BLOCK_BYTES, piece.length - done)
        block = await run_on_disk(os.pread, piece.descriptor, wanted, piece.skip + done)
        if not block:
            return
        done += len(block)
        yield block


def remove_pieces(places: Iterable[Path]) -> None:
    """Remove files of the cache; one that is gone is fine."""
    for place in places:
        place.unlink(missing_ok=True)
