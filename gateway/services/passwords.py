"""Secrets of users and agents: argon2 for passwords (slow on purpose, in its own threads), SHA-256 for random ones."""

import asyncio
import contextlib
import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from gateway.errors import UnavailableError

__all__ = ["MAX_PASSWORD_BYTES", "HashingPool", "hash_password", "hash_secret", "is_password"]

P = ParamSpec("P")
T = TypeVar("T")
_HASHER = PasswordHasher()
# Unknown users are checked against this hash, so that the time of an answer does not tell who exists.
_NOBODY = _HASHER.hash("nobody has this password")
_MAX_SECRET_CHARS = 256
MAX_PASSWORD_BYTES = 1024
_THREADS, _MAX_WAITING, _RETRY_AFTER_S = 2, 64, 5
_NICENESS = 15


def hash_password(password: str) -> str:
    """Hash a user's password."""
    return _HASHER.hash(password)


def is_password(stored: str | None, password: str) -> bool:
    """True if the hash is of this password. Takes as long for a user who does not exist."""
    try:
        _HASHER.verify(stored or _NOBODY, password)
    except (VerificationError, InvalidHashError):
        return False
    return stored is not None


def hash_secret(secret: str) -> str:
    """SHA-256 of a random secret: 256 random bits need no slow hash.

    Whatever a caller sends is cut first; what is cut, or is not text, is longer or other than any secret of ours.
    """
    return hashlib.sha256(secret[: _MAX_SECRET_CHARS + 1].encode(errors="replace")).hexdigest()


class HashingPool:
    """Two threads that only hash: however many log in, no other request waits for them, and memory is bounded."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "passwords", initializer=_yield_to_others)
        self._unfinished = 0

    async def run(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a slow function. Raises UnavailableError (too_many_at_once) if too many wait already."""
        if self._unfinished >= _THREADS + _MAX_WAITING:
            raise UnavailableError(
                "Too many users log in at this moment.",
                key="too_many_at_once",
                next_step=f"Try again in {_RETRY_AFTER_S} seconds. Tokens that you have still work.",
                retry_after_s=_RETRY_AFTER_S,
            )
        self._unfinished += 1
        loop, job = asyncio.get_running_loop(), self._threads.submit(fn, *args, **kwargs)
        job.add_done_callback(lambda _: loop.call_soon_threadsafe(self._finish))
        return await asyncio.wrap_future(job)

    def _finish(self) -> None:
        self._unfinished -= 1

    def close(self) -> None:
        """Drop what waits, and end the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)


def _yield_to_others() -> None:
    """The loop's thread goes first on a busy machine. On Linux this changes one thread, not the process."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
