"""The client without `await`, for notebooks and scripts: the same methods, run in a loop of a thread of its own."""

import asyncio
import os
import selectors
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Self, TypeVar

from mltm.client import Client
from mltm.contract.states import State
from mltm.contract.user_api import (
    CancelAnswer,
    HoldAnswer,
    LoginAnswer,
    Outputs,
    TaskAnswer,
    TaskList,
    TokenAnswer,
    Whoami,
)
from mltm.wire.bundle import ConfigSource
from mltm.wire.credentials import read_access
from mltm.wire.logs import LogChunk

__all__ = ["SyncClient", "connect"]

T = TypeVar("T")


def connect(url: str | None = None, token: str | None = None, ca_file: Path | str | None = None) -> "SyncClient":
    """Connect. What is not given comes from MLTM_URL, MLTM_TOKEN and MLTM_CA, then from the stored login."""
    access = read_access(os.environ, url=url, ca=str(ca_file) if ca_file else None)
    return SyncClient(Client(access.url, token or access.token, access.ca))


class SyncClient:
    """A Client whose methods wait for their answer. `close()`, a `with` block or the interpreter's end closes it.

    After a fork the child's copy opens connections of its own at its first call; the parent's go on.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._running: _Running | None = None
        self._is_closed = False
        self._starting = threading.Lock()
        _OPEN.add(self)
        self._start()

    def close(self) -> None:
        """End the connections and the thread. Harmless if it is closed."""
        self._is_closed = True
        if self._running is not None:
            self._running.end()

    def __reduce__(self) -> NoReturn:
        raise TypeError("A client cannot be sent to another process. Call connect() in that process.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def login(self, username: str, password: str) -> LoginAnswer:
        """Exchange a password for a token, and use it from now on."""
        return self._run(self._client.login(username, password))

    def change_password(self, current: str, new: str) -> None:
        """Change the user's password. All his tokens end: log in again."""
        self._run(self._client.change_password(current, new))

    def whoami(self) -> Whoami:
        """Read whose token it is, and on which clusters that user may run tasks."""
        return self._run(self._client.whoami())

    def submit(
        self,
        config: ConfigSource,
        script: Path | str,
        files: Iterable[Path | str] = (),
        idempotency_key: str | None = None,
    ) -> TaskAnswer:
        """Submit a task; see Client.submit."""
        return self._run(self._client.submit(config, script, files, idempotency_key))

    def tasks(self, *, state: State | str | None = None, limit: int = 50, before: str | None = None) -> TaskList:
        """List tasks, newest first."""
        return self._run(self._client.tasks(state=state, limit=limit, before=before))

    def task(self, task_id: str) -> TaskAnswer:
        """Read one task with its attempts, history and config."""
        return self._run(self._client.task(task_id))

    def cancel(self, task_id: str) -> CancelAnswer:
        """Ask the cluster to cancel a task."""
        return self._run(self._client.cancel(task_id))

    def hold(self, task_id: str) -> HoldAnswer:
        """Do not submit a task to Slurm until it is released."""
        return self._run(self._client.hold(task_id))

    def release(self, task_id: str) -> HoldAnswer:
        """Release a held task."""
        return self._run(self._client.release(task_id))

    def wait(
        self,
        task_id: str,
        on_change: Callable[[TaskAnswer], None] | None = None,
        timeout_s: float | None = None,
    ) -> TaskAnswer:
        """Wait for a task's end and return it. `on_change` is called in the client's thread; see Client.wait."""
        return self._run(self._client.wait(task_id, on_change, timeout_s))

    def log(self, task_id: str, *, offset: int = 0, attempt: int | None = None) -> LogChunk:
        """Read a piece of the log. A negative offset counts from the end."""
        return self._run(self._client.log(task_id, offset=offset, attempt=attempt))

    def follow_log(self, task_id: str, *, offset: int = 0, attempt: int | None = None) -> Iterator[LogChunk]:
        """Yield the log as it grows, until the task ends."""
        chunks = self._client.follow_log(task_id, offset=offset, attempt=attempt)
        while (chunk := self._run(_next_or_none(chunks.__anext__))) is not None:
            yield chunk

    def outputs(self, task_id: str) -> Outputs:
        """List the files that the task has written to its outputs folder."""
        return self._run(self._client.outputs(task_id))

    def download(self, task_id: str, path: str, target: Path | str) -> int:
        """Download one output file to `target`. Return its size in bytes."""
        return self._run(self._client.download(task_id, path, target))

    def create_token(self, name: str) -> TokenAnswer:
        """Create an API token. Only this answer shows it."""
        return self._run(self._client.create_token(name))

    def tokens(self) -> list[TokenAnswer]:
        """List the user's API tokens, without their values."""
        return self._run(self._client.tokens())

    def revoke_token(self, token_id: str) -> None:
        """Revoke an API token, or the token of a login. "current" is the one that this client uses."""
        return self._run(self._client.revoke_token(token_id))

    def _start(self) -> "_Running":
        with self._starting:
            if self._running is not None:
                return self._running
            loop = asyncio.SelectorEventLoop()  # whatever the policy says: _forget_parent knows this one
            thread = threading.Thread(target=loop.run_forever, name="mltm-client", daemon=True)
            thread.start()
            # Runs once: at close(), when the object is forgotten, or at the interpreter's end.
            end = weakref.finalize(self, _shut, self._client, loop, thread)
            self._running = _Running(loop, thread, end)
        try:
            self._run(self._client.__aenter__())
        except BaseException:
            self.close()
            raise
        return self._running

    def _run(self, work: Coroutine[object, object, T]) -> T:
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._find_loop())
        except BaseException:
            work.close()
            raise
        try:
            return future.result()
        except BaseException:
            future.cancel()  # an interrupt of the notebook ends the request too
            raise

    def _find_loop(self) -> asyncio.AbstractEventLoop:
        """The loop to run in. Raises RuntimeError where the caller would wait for ever."""
        if self._is_closed:
            raise RuntimeError("This client is closed. Call connect() again.")
        running = self._running or self._start()
        if threading.current_thread() is running.thread:
            raise RuntimeError(
                "This client waits for the function that calls it, such as on_change. Let that function only take a "
                "note, or use another client in it."
            )
        return running.loop

    def forget_parent(self) -> None:
        """In a child after a fork: leave the parent's connections alone. The thread is not here; its loop is a copy."""
        if self._running is not None:
            self._running.abandon()
            self._client.abandon()
        self._running, self._starting = None, threading.Lock()


@dataclass(frozen=True)
class _Running:
    """The loop in its thread, and how both end."""

    loop: asyncio.SelectorEventLoop
    thread: threading.Thread
    end: "weakref.finalize[..., SyncClient]"

    def abandon(self) -> None:
        """Cut this copy off: what is deleted later must not reach the parent's sockets through the shared epoll."""
        self.end.detach()
        self.loop._selector = selectors.DefaultSelector()  # type: ignore[attr-defined]  # noqa: SLF001 - no public way
        self.loop.set_exception_handler(lambda *_: None)


_OPEN: "weakref.WeakSet[SyncClient]" = weakref.WeakSet()


def _forget_parents() -> None:
    for client in list(_OPEN):
        client.forget_parent()


os.register_at_fork(after_in_child=_forget_parents)


async def _next_or_none(step: Callable[[], Awaitable[LogChunk]]) -> LogChunk | None:
    try:
        return await step()
    except StopAsyncIteration:
        return None


def _shut(client: Client, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    asyncio.run_coroutine_threadsafe(client.__aexit__(None, None, None), loop).result(timeout=5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(timeout=5)
    loop.close()
