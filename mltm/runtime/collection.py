"""Keeps Python's garbage collector away while very many objects are made at once.

Each collection looks at all of them again, and no other thread runs meanwhile. Measured: JSON with 150,000 empty lists
was read in 0.65 s with the collector, and in 0.02 s without it.
"""

import contextlib
import gc
import threading
from collections.abc import Iterator

__all__ = ["without_collection"]

_LOCK = threading.Lock()
_inside = 0


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Collect nothing until the last of those who are inside has left. For work of a second at most."""
    global _inside  # noqa: PLW0603 - the collector is the process's own
    with _LOCK:
        _inside += 1
        gc.disable()
    try:
        yield
    finally:
        with _LOCK:
            _inside -= 1
            if not _inside:
                gc.enable()
