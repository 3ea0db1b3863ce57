"""Output files onto the user's disk: never outside the folder he named, never half a file under its own name."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from mltm.wire.errors import build_error

if TYPE_CHECKING:
    import aiohttp

__all__ = ["PIECE_BYTES", "place_inside", "replace_when_whole", "save"]

PIECE_BYTES = 1024 * 1024


def place_inside(folder: Path, path: str) -> Path:
    """Build where an output goes below `folder`. Raises MltmError for a path that would lead out of it."""
    steps = path.split("/")
    if any(step in {"", ".", ".."} or "\x00" in step for step in steps):
        raise build_error(
            "unsafe_path", f"The output path {path!r} would lead out of the folder; it is not fetched.",
            "Fetch it alone, under a name of your own.", status=400,
        )  # fmt: skip
    return folder.joinpath(*steps)


@contextmanager
def replace_when_whole(target: Path) -> Iterator[IO[bytes]]:
    """Open a file beside `target` that takes its place when the block ends well, and vanishes otherwise."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".mltm-{secrets.token_hex(6)}.part")
    try:
        with part.open("xb") as stream:
            yield stream
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


async def save(response: "aiohttp.ClientResponse", target: Path) -> int:
    """Write an answer's body to `target`, and return how many bytes it has. Raises ClientError if it breaks off."""
    with replace_when_whole(target) as stream:
        written = 0
        async for piece in response.content.iter_chunked(PIECE_BYTES):
            written += stream.write(piece)
    return written
