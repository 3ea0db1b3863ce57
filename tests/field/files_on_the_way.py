"""A file as a gateway serves it by RFC 9110: ETag, Range, If-Range; and the ways in which an answer goes wrong."""

from dataclasses import dataclass, field

from aiohttp import web

from tests.mltm.client.fake_gateway import Handler

__all__ = ["Served"]


@dataclass(frozen=True)
class Served:
    """Serve one version of a file. `cut`: break off after so many bytes of the body.

    honest: does what If-Range asks; otherwise it sends the range whatever the ETag is.
    """

    data: bytes
    etag: str = '"one"'
    cut: int | None = None
    honest: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    shift: int = 0

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        wanted = request.headers.get("Range")
        is_part = wanted is not None and (not self.honest or request.headers.get("If-Range") == self.etag)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) + self.shift if wanted and is_part else 0
        if start > len(self.data):
            return web.Response(status=416, headers={"Content-Range": f"bytes */{len(self.data)}"})
        body = self.data[start:]
        named = {"ETag": self.etag} if self.etag else {}
        part = {"Content-Range": f"bytes {start}-{len(self.data) - 1}/{len(self.data)}"} if is_part else {}
        headers = {"Content-Length": str(len(body)), **named, **part, **self.headers}
        response = web.StreamResponse(status=206 if is_part else 200, headers=headers)
        await response.prepare(request)
        await response.write(body[: self.cut])
        if self.cut is not None:
            assert request.transport is not None
            request.transport.close()
        return response


def _check_type(served: Served) -> Handler:
    return served
