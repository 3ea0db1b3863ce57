"""One download over several answers: it goes on where the last one broke off, and never joins two versions."""

import re
from collections.abc import Callable
from typing import IO

import aiohttp

__all__ = ["ResumableDownload"]

PIECE_BYTES = 1024 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})")


class ResumableDownload:
    """One file on its way to a stream. If the answer breaks off, the next one goes on where it ended.

    Bytes of two versions of a file are never joined: the rest is asked for with the strong ETag of what is here
    (If-Range, RFC 9110), and an answer that is not certainly of that version starts the file anew.
    """

    def __init__(self, open_stream: Callable[[], IO[bytes]]) -> None:
        self._open_stream = open_stream  # for the first bytes: a refusal leaves no file and no folder behind
        self._stream: IO[bytes] | None = None
        self._etag = ""
        self.written = 0
        self.furthest = 0  # bytes, over all tries: only what goes further is progress

    def build_headers(self) -> dict[str, str]:
        """Build the headers of the next try: for the rest if it can be told apart, else for the whole file."""
        identity = {"Accept-Encoding": "identity"}  # offsets are those of the file itself
        if not (self.written and self._etag):
            return identity
        return {**identity, "Range": f"bytes={self.written}-", "If-Range": self._etag}

    def accepts(self, status: int) -> bool:
        """True if the answer has bytes, or (416) says that the rest does not exist any more."""
        return 200 <= status < 300 or (status == 416 and self.written > 0)

    async def receive(self, response: aiohttp.ClientResponse) -> int:
        """Write an answer's bytes. Return the file's size. Raises ClientError if a part is missing."""
        size: int | None = None
        if response.status == 206:
            size = self._read_rest_of(response)
            if size is None:
                self._start_anew("")
                raise aiohttp.ClientPayloadError("the answer is not the rest of the same file")
        elif response.status == 416:
            self._start_anew("")
            raise aiohttp.ClientPayloadError("the file was replaced during the download")
        else:
            self._start_anew(_read_strong_etag(response))
        stream = self._stream or self._open_stream()
        self._stream = stream
        async for piece in response.content.iter_chunked(PIECE_BYTES):
            self.written += stream.write(piece)
            self.furthest = max(self.furthest, self.written)
        if size is not None and self.written != size:
            raise aiohttp.ClientPayloadError(f"{self.written:,} of {size:,} bytes came")
        return self.written

    def _read_rest_of(self, response: aiohttp.ClientResponse) -> int | None:
        """The size of the whole file; None if the answer is not the rest of the version that was begun."""
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        is_same = bool(self._etag) and response.headers.get("ETag") == self._etag
        if found is None or not is_same or int(found[1]) != self.written or "Content-Encoding" in response.headers:
            return None
        return int(found[2])

    def _start_anew(self, etag: str) -> None:
        self._etag, self.written = etag, 0
        if self._stream is not None:
            self._stream.seek(0)
            self._stream.truncate()


def _read_strong_etag(response: aiohttp.ClientResponse) -> str:
    """The ETag that names these very bytes; "" for a weak one, and for one of compressed bytes."""
    etag = response.headers.get("ETag", "").strip()
    is_strong = etag.startswith('"') and "Content-Encoding" not in response.headers
    return etag if is_strong else ""
