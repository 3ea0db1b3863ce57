"""Streams the parts of a multipart body to disk; each is counted, hashed and synced. File work runs in threads.

A form's few text fields come into memory instead.
"""

import asyncio
import contextlib
import hashlib
import os
import re
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from aiohttp import (
    BadContentDispositionHeader,
    BadContentDispositionParam,
    BodyPartReader,
    MultipartReader,
    hdrs,
    web,
)
from aiohttp.http_exceptions import HttpProcessingError

from gateway.errors import GatewayError, TooLargeError
from gateway.http.validation import refuse
from gateway.private_files import create_private_file
from gateway.services.disk import UploadRoom, run_on_disk
from mltm.contract.problems import FieldProblem

__all__ = ["Limits", "Part", "build_too_large", "receive_parts", "receive_texts"]

_BLOCK_BYTES = 256 * 1024  # with the most uploads at once this stays a few MiB
_CHUNK_BYTES = 64 * 1024
# What aiohttp's reader (3.14) raises for bodies that are no multipart: unknown charsets are LookupErrors.
_UNREADABLE = (
    ValueError, LookupError, AssertionError, RuntimeError, HttpProcessingError,
    BadContentDispositionHeader, BadContentDispositionParam,
)  # fmt: skip
# It only warns of a Content-Disposition that it cannot read, and goes on without it. We refuse the body.
for _warning in (BadContentDispositionHeader, BadContentDispositionParam):
    warnings.simplefilter("error", _warning)
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


async def receive_parts(request: web.Request, folder: Path, limits: Limits, room: UploadRoom) -> list[Part]:
    """Write each part to `folder`. Raises GatewayError for a part that cannot be read, is too large or has no room."""
    parts: list[Part] = []
    try:
        async for part in _iterate(request):
            if len(parts) == limits.parts:
                raise refuse("too_many_parts", "files", f"at most {limits.parts} parts are allowed")
            parts.append(await _receive(part, folder / f"{len(parts):03d}", limits, room))
    except _UNREADABLE as error:
        raise _malformed("The body is not a complete multipart/form-data body.") from error
    return parts


async def receive_texts(request: web.Request, limit: int) -> list[tuple[str, str]]:
    """Read the text fields of a form, all of them at most `limit` bytes. Raises GatewayError."""
    texts: list[tuple[str, str]] = []
    left = limit
    try:
        async for part in _iterate(request):
            _check_encoding(part)
            if part.filename is not None:
                raise refuse("malformed_form", "body", "only text fields are allowed, not files")
            value = bytearray()
            async for block in _blocks(part, left):
                value += block
            left -= len(value)
            texts.append((part.name or "", value.decode()))
    except _UNREADABLE as error:
        raise refuse("malformed_form", "body", "this is not a form") from error
    return texts


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


async def _receive(part: BodyPartReader, path: Path, limits: Limits, room: UploadRoom) -> Part:
    _check_encoding(part)
    name, limit = part.name or "", limits.config_bytes if part.name == "config" else limits.part_bytes
    file_name = part.filename
    if file_name is not None and _LEADING_SLASH.search(part.headers.get(hdrs.CONTENT_DISPOSITION, "")):
        file_name = f"/{file_name}"
    size, sha256 = await _write(part, path, limit, file_name or name, room)
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


async def _write(part: BodyPartReader, path: Path, limit: int, name: str, room: UploadRoom) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    files = contextlib.ExitStack()
    try:
        file = await run_on_disk(_create, path, files)
        async for block in _blocks(part):
            size += len(block)
            if size > limit:
                raise build_too_large(name, limit)
            await run_on_disk(_append, file, block, room)
            await asyncio.to_thread(digest.update, block)
        await run_on_disk(_sync, file)
    finally:
        await run_on_disk(files.close)
    return size, digest.hexdigest()


async def _blocks(part: BodyPartReader, limit: int | None = None) -> AsyncIterator[bytes]:
    """Collect the network's small pieces, so that fewer calls go to a thread. Raises TooLargeError above `limit`."""
    block, size = bytearray(), 0
    while not part.at_eof():
        try:
            chunk = await part.read_chunk(_CHUNK_BYTES)
        except (OSError, web.PayloadAccessError, web.RequestPayloadError) as error:
            raise _truncated() from error
        block += chunk
        size += len(chunk)
        if limit is not None and size > limit:
            raise TooLargeError("The form is too large.")
        if len(block) >= _BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


def _create(path: Path, files: contextlib.ExitStack) -> BinaryIO:
    """Open a new file. `files` has it before the thread ends: it is closed even if nobody waits for the thread."""
    return files.enter_context(create_private_file(path))


def _append(file: BinaryIO, block: bytes, room: UploadRoom) -> None:
    view = memoryview(block)
    with room.take(len(block)):
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
