"""Logs and output files, fetched from the cluster in pieces. A browser never shows their content as a page."""

from contextlib import AbstractAsyncContextManager
from typing import Final
from urllib.parse import quote

import structlog
from aiohttp import hdrs, web
from pydantic import Field

from gateway.errors import GatewayError
from gateway.http.route import Call, Media, route
from gateway.http.validation import refuse
from gateway.services.piece_files import read_blocks
from gateway.values import FilePiece, User
from mltm.contract import routes
from mltm.contract.base_models import Strict
from mltm.contract.ids import TaskId
from mltm.contract.user_api import Outputs

__all__ = ["LogQuery", "list_outputs", "read_log", "read_output"]

AGENT_WAIT_S: Final = 20.0
_PIECE_BYTES: Final = 4 * 1024 * 1024
_MAX_LOG_BYTES: Final = 8 * 1024 * 1024
_PIECE: Final = ("X-Mltm-Offset", "X-Mltm-Size", "X-Mltm-Final")
_log = structlog.get_logger(__name__)


class LogQuery(Strict):
    """Which piece of the log."""

    offset: int = Field(
        default=0, ge=-(2**62), le=2**62, description="first byte; a negative number counts from the end"
    )
    length: int = Field(default=64 * 1024, ge=1, le=_MAX_LOG_BYTES)
    attempt: int | None = Field(default=None, ge=1, le=9999, description="which attempt; without it the newest")


@route(
    "GET", routes.TASK_LOG, area="outputs", errors=(404, 504, 507), media=Media("text/plain", "a piece of the log"),
    headers=_PIECE, lane="files",
)  # fmt: skip
async def read_log(call: Call, user: User, task_id: TaskId, query: LogQuery) -> web.StreamResponse:
    """A piece of the task's log, as it was written.

    X-Mltm-Offset is the first byte (later than asked for if the middle of a long log was dropped), X-Mltm-Size the
    size of the log now. X-Mltm-Final is true if the log no longer grows.
    """
    reading = call.services.cluster_files.read_log(
        user, task_id, offset=query.offset, length=query.length, attempt=query.attempt, wait_s=AGENT_WAIT_S
    )
    async with reading as piece:
        response = web.StreamResponse(headers=_describe(piece))
        response.content_type, response.charset = "text/plain", "utf-8"
        response.content_length = piece.length
        await response.prepare(call.request)
        if not _is_head(call.request) and not await _write(response, piece):
            return _break_off(call.request, response, "the cache's file is damaged")
        await response.write_eof()
        return response


@route("GET", routes.TASK_OUTPUTS, area="outputs", errors=(404, 504, 507), lane="files")
async def list_outputs(call: Call, user: User, task_id: TaskId) -> Outputs:
    """The files in the task's outputs folder."""
    return await call.services.cluster_files.list_outputs(user, task_id, AGENT_WAIT_S)


@route(
    "GET",
    routes.TASK_OUTPUT,
    area="outputs",
    also=(206,),
    errors=(404, 416, 422, 504, 507),
    media=Media("application/octet-stream", "the file, or the asked range of it"),
    headers=(*_PIECE, "Accept-Ranges", "Content-Disposition"),
    lane="files",
)
async def read_output(call: Call, user: User, task_id: TaskId, path: str) -> web.StreamResponse:
    """One output file, of any size. `Range` may ask for one range of bytes."""
    _check_path(path)
    start, stop = _read_range(call.request)

    def read(offset: int, length: int) -> AbstractAsyncContextManager[FilePiece]:
        return call.services.cluster_files.read_output(user, task_id, path, offset, length, AGENT_WAIT_S)

    if start < 0:
        async with read(0, 1) as piece:
            start = max(0, piece.size + start)
    wanted = 1 if _is_head(call.request) else _PIECE_BYTES
    async with read(start, wanted if stop is None else min(wanted, stop - start)) as first:
        end = first.size if stop is None else min(stop, first.size)
        if start and start >= first.size:
            raise _refuse_range(first.size)
        response = _start_response(call.request, path, first, start, end)
        await response.prepare(call.request)
        if _is_head(call.request):
            return response
        is_whole, offset = await _write(response, first), start + first.length
    try:
        while is_whole and offset < end:
            async with read(offset, min(_PIECE_BYTES, end - offset)) as piece:
                is_whole = piece.offset == offset and piece.length > 0 and await _write(response, piece)
                offset += piece.length
    except GatewayError as error:
        return _break_off(call.request, response, error.detail)
    if not is_whole:
        return _break_off(call.request, response, "the file became shorter")
    await response.write_eof()
    return response


def _is_head(request: web.Request) -> bool:
    """True if only the header is wanted: aiohttp would send what is written to a stream, all the same."""
    return request.method == hdrs.METH_HEAD


async def _write(response: web.StreamResponse, piece: FilePiece) -> bool:
    """Write the piece's bytes, block by block; False if its file has fewer."""
    written = 0
    async for block in read_blocks(piece):
        await response.write(block)
        written += len(block)
    return written == piece.length


def _describe(piece: FilePiece) -> dict[str, str]:
    return {
        "X-Mltm-Offset": str(piece.offset),
        "X-Mltm-Size": str(piece.size),
        "X-Mltm-Final": str(piece.final).lower(),
    }


def _check_path(path: str) -> None:
    steps = path.split("/")
    if any(step in ("", ".", "..") for step in steps) or "\x00" in path or len(path) > 4096:
        raise refuse(
            "bad_path", "path", "only a path below the outputs folder, without . and .., is allowed", given=ascii(path)
        )


def _read_range(request: web.Request) -> tuple[int, int | None]:
    try:
        wanted = request.http_range
    except ValueError as error:
        raise _refuse_range(None) from error
    start, stop = wanted.start or 0, wanted.stop
    if stop is not None and stop <= start:
        raise _refuse_range(None)
    return start, stop


def _refuse_range(size: int | None) -> GatewayError:
    known = "" if size is None else f" The file has {size:,} bytes."
    return GatewayError(
        f"The header Range asks for bytes that do not exist.{known}",
        status=416,
        key="bad_range",
        title="No such range",
        next_step="Ask for one range within the file, as in `Range: bytes=0-1023`, or leave out the header.",
    )


def _start_response(request: web.Request, path: str, first: FilePiece, start: int, end: int) -> web.StreamResponse:
    is_part = "Range" in request.headers
    response = web.StreamResponse(status=206 if is_part else 200, headers=_describe(first))
    response.content_type = "application/octet-stream"
    response.content_length = end - start
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Content-Disposition"] = _render_disposition(path.rsplit("/", 1)[-1])
    if is_part:
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{first.size}"
    return response


def _render_disposition(name: str) -> str:
    """Both forms of RFC 6266: plain ASCII for old clients, UTF-8 for the others."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-+ ") else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _break_off(request: web.Request, response: web.StreamResponse, message: str) -> web.StreamResponse:
    """Close the connection, so that the client does not take a part for the whole file."""
    _log.warning("download_aborted", path=request.path, message=message)
    if request.transport is not None:
        request.transport.abort()
    return response
