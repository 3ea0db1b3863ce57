"""The client without `await`, for notebooks and scripts: the same methods, run in a loop of a thread of its own."""

import asyncio
import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Self, TypeVar

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
    """A Client whose methods wait for their answer. `close()`, a `with` block or the interpreter's end closes it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, name="mltm-client", daemon=True)
        thread.start()
        # Runs once: at close(), when the object is forgotten, or at the interpreter's end.
        self.close: Callable[[], object] = weakref.finalize(self, _shut, client, self._loop, thread)
        try:
            self._run(client.__aenter__())
        except BaseException:
            self.close()
            raise

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

    def wait(self, task_id: str, on_change: Callable[[TaskAnswer], None] | None = None) -> TaskAnswer:
        """Wait for a task's end and return it. `on_change` is called in the client's thread."""
        return self._run(self._client.wait(task_id, on_change))

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

    def _run(self, work: Coroutine[object, object, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # an interrupt of the notebook ends the request too
            raise


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
