"""Writes output files to the user's disk: never outside the named folder, never half a file under its own name."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mltm.wire.errors import build_error

__all__ = ["place_inside", "replace_when_whole"]


def place_inside(folder: Path, path: str) -> Path:
    """Build the path of an output below `folder`. Raises MltmError if it would be outside."""
    steps = path.split("/")
    if any(step in {"", ".", ".."} or "\x00" in step for step in steps):
        raise build_error(
            "unsafe_path", f"The output path {path!r} is outside the folder, so it was not downloaded.",
            "Download it alone with the Python client, under another name.", status=400,
        )  # fmt: skip
    return folder.joinpath(*steps)


@contextmanager
def replace_when_whole(target: Path) -> Iterator[IO[bytes]]:
    """Open a file beside `target`. It replaces `target` if the block ends without an error, else it is removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".mltm-{secrets.token_hex(6)}.part")
    try:
        with part.open("xb") as stream:
            yield stream
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
