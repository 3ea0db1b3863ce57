"""Streams the parts of a multipart body to disk; each is counted, hashed and synced. File work runs in threads."""

import asyncio
import contextlib
import hashlib
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from aiohttp import BodyPartReader, MultipartReader, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from gateway.errors import GatewayError, TooLargeError
from gateway.http.validation import refuse
from gateway.services.disk import run_on_disk
from mltm.contract.problems import FieldProblem

__all__ = ["Limits", "Part", "build_too_large", "receive_parts"]

_BLOCK_BYTES = 1024 * 1024
_CHUNK_BYTES = 64 * 1024
# aiohttp removes leading slashes of a file name. They are put back here, so that the name is refused.
_LEADING_SLASH = re.compile(r"""filename\*?\s*=\s*"?(?:[\w-]+'[^']*')?(?:[\\/]|%2f|%5c)""", re.IGNORECASE)


@dataclass(frozen=True)
class Limits:
    """The limits of one upload."""

    parts: int
    part_bytes: int
    config_bytes: int


@dataclass(frozen=True)
class Part:
    """A part on disk. `file_name` is as it was sent: not checked, and not used as a path."""

    field: str
    file_name: str | None
    media_type: str
    path: Path
    size: int
    sha256: str


async def receive_parts(request: web.Request, folder: Path, limits: Limits) -> list[Part]:
    """Write each part to `folder`. Raises GatewayError for a part that cannot be read or is too large."""
    parts: list[Part] = []
    try:
        async for part in _iterate(request):
            if len(parts) == limits.parts:
                raise refuse("too_many_parts", "files", f"at most {limits.parts} parts are allowed")
            parts.append(await _receive(part, folder / f"{len(parts):03d}", limits))
    except (ValueError, AssertionError, RuntimeError, HttpProcessingError) as error:
        raise _malformed("The body is not a complete multipart/form-data body.") from error
    return parts


async def _iterate(request: web.Request) -> AsyncIterator[BodyPartReader]:
    try:
        reader = await request.multipart()
    except KeyError as error:
        raise _malformed("The header Content-Type has no boundary.") from error
    while (part := await _read_next(reader)) is not None:
        if isinstance(part, MultipartReader):
            raise _malformed("A part contains parts of its own, which is not supported.")
        yield part


async def _read_next(reader: MultipartReader) -> BodyPartReader | MultipartReader | None:
    try:
        return await reader.next()
    except (OSError, web.PayloadAccessError, web.RequestPayloadError) as error:
        raise _truncated() from error


async def _receive(part: BodyPartReader, path: Path, limits: Limits) -> Part:
    _check_encoding(part)
    name, limit = part.name or "", limits.config_bytes if part.name == "config" else limits.part_bytes
    file_name = part.filename
    if file_name is not None and _LEADING_SLASH.search(part.headers.get(hdrs.CONTENT_DISPOSITION, "")):
        file_name = f"/{file_name}"
    size, sha256 = await _write(part, path, limit, file_name or name)
    media_type = part.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()
    return Part(field=name, file_name=file_name, media_type=media_type, path=path, size=size, sha256=sha256)


def _check_encoding(part: BodyPartReader) -> None:
    transfer = part.headers.get(hdrs.CONTENT_TRANSFER_ENCODING, "binary").lower()
    if transfer not in ("binary", "7bit", "8bit") or part.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
        raise GatewayError(
            f"The part {(part.filename or part.name or '')[:80]!r} is encoded. Encoded parts are not supported.",
            status=415,
            key="encoded_part",
            title="Encoded part",
            next_step="Send the file itself, without Content-Transfer-Encoding and Content-Encoding.",
        )


async def _write(part: BodyPartReader, path: Path, limit: int, name: str) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    files = contextlib.ExitStack()
    try:
        file = await run_on_disk(_create, path, files)
        async for block in _blocks(part):
            size += len(block)
            if size > limit:
                raise build_too_large(name, limit)
            await run_on_disk(_append, file, block)
            await asyncio.to_thread(digest.update, block)
        await run_on_disk(_sync, file)
    finally:
        await run_on_disk(files.close)
    return size, digest.hexdigest()


async def _blocks(part: BodyPartReader) -> AsyncIterator[bytes]:
    """Collect the network's small pieces, so that fewer calls go to a thread."""
    block = bytearray()
    while not part.at_eof():
        try:
            block += await part.read_chunk(_CHUNK_BYTES)
        except (OSError, web.PayloadAccessError, web.RequestPayloadError) as error:
            raise _truncated() from error
        if len(block) >= _BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


def _create(path: Path, files: contextlib.ExitStack) -> BinaryIO:
    """Open a new file. `files` has it before the thread ends: it is closed even if nobody waits for the thread."""
    return files.enter_context(path.open("xb", 0))


def _append(file: BinaryIO, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[file.write(view) :]


def _sync(file: BinaryIO) -> None:
    os.fsync(file.fileno())


def build_too_large(name: str, limit: int) -> TooLargeError:
    """Build the error for a part over its limit."""
    problem = FieldProblem(field=name[:128] or "files", allowed=f"at most {limit:,} bytes are allowed")
    return TooLargeError(str(problem), fields=[problem])


def _malformed(message: str) -> GatewayError:
    return GatewayError(
        message,
        status=400,
        key="malformed_upload",
        title="The upload cannot be read",
        next_step="Let curl or a library build the body: curl -F files=@config.json -F files=@script.py.",
        fields=[FieldProblem(field="body", allowed="a complete multipart/form-data body is needed")],
    )


def _truncated() -> GatewayError:
    return GatewayError(
        "The upload ended too early: a part of it is missing. Nothing was stored.",
        status=400,
        key="truncated_upload",
        title="Truncated upload",
        next_step="Send it again, with the same Idempotency-Key.",
        fields=[FieldProblem(field="body", allowed="a complete multipart/form-data body is needed")],
    )
