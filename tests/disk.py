"""A small disk of the test's own, for what happens when it is full."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

__all__ = ["fill_disk", "mount_disk"]


@contextmanager
def mount_disk(folder: Path, options: str) -> Iterator[Path]:
    """Mount a tmpfs with these options; only root can, and in CI no part may be missing."""
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(argv, check=False, capture_output=True).returncode != 0:
        message = "a small disk of its own can be mounted by root only"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill_disk(path: Path, *, leave: int = 0) -> None:
    """Write a file until the disk is full, then cut off what is to be left free."""
    with path.open("wb", 0) as stream:
        with suppress(OSError):
            while stream.write(bytes(1024)):
                pass
        stream.truncate(max(0, stream.tell() - leave))
