"""A file system of a few megabytes, so that a disk is full soon and nobody else's is."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

__all__ = ["small_disk"]


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """Mount one of `size` bytes on a folder for a `with` block. Needs root."""
    options = f"size={size},mode=0777"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "attack", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
