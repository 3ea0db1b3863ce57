"""The Python client: every request of a user's, typed. `mltm.notebook` has the same without `await`."""

import dataclasses
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import ExitStack, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
from pydantic import BaseModel, TypeAdapter, ValidationError

from mltm.contract import routes
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
from mltm.wire.bundle import ConfigSource, open_form, read_bundle
from mltm.wire.downloads import replace_when_whole
from mltm.wire.errors import MltmError, UnreachableError, build_error
from mltm.wire.header_values import check_key
from mltm.wire.logs import LogChunk, LogSource, follow_log
from mltm.wire.resumable_download import ResumableDownload
from mltm.wire.retry_policy import RetryPolicy
from mltm.wire.transport import Call, RetryNotice, Transport, build_path
from mltm.wire.waiting import check_timeout, only_watching, wait_for_end

__all__ = ["Client"]

M = TypeVar("M", bound=BaseModel)
LOG_PIECE_BYTES = 256 * 1024


class Client:
    """Talks to one gateway: `async with Client(url, token) as client: …`. All methods raise MltmError.

    A request is sent again for a while (`retry_policy`) if no answer came, or 429, 502, 503 or 504. A submission
    carries a key, so that it cannot become two tasks.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        ca_file: Path | str | None = None,
        *,
        retry_policy: RetryPolicy | None = None,
        on_retry: RetryNotice | None = None,
    ) -> None:
        ca = Path(ca_file) if ca_file else None
        self._retry_policy = retry_policy or RetryPolicy()
        self._transport = Transport(url, token, ca, self._retry_policy, on_retry)

    async def __aenter__(self) -> Self:
        await self._transport.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    def abandon(self) -> None:
        """Forget the connections without closing them: after a fork they are the parent's."""
        self._transport.abandon()

    async def login(self, username: str, password: str) -> LoginAnswer:
        """Exchange a password for a token, and use it from now on."""
        form = {"grant_type": "password", "username": username, "password": password}
        call = Call("POST", routes.LOGIN, open_body=lambda: _as_body(aiohttp.FormData(form)))
        answer = await self._ask(call, LoginAnswer)
        self._transport.token = answer.access_token
        return answer

    async def change_password(self, current: str, new: str) -> None:
        """Change the user's password. All his tokens end: log in again."""
        body = aiohttp.JsonPayload({"current_password": current, "new_password": new})
        call = Call("PUT", routes.PASSWORD, open_body=lambda: _as_body(body), repeatable=False)
        await self._transport.call(call, aiohttp.ClientResponse.read)

    async def whoami(self) -> Whoami:
        """Read whose token it is, and on which clusters that user may run tasks."""
        return await self._ask(Call("GET", routes.WHOAMI), Whoami)

    async def submit(
        self,
        config: ConfigSource,
        script: Path | str,
        files: Iterable[Path | str] = (),
        idempotency_key: str | None = None,
    ) -> TaskAnswer:
        """Submit a task. All is checked before it is sent: ConfigError names the field, OSError the file.

        The same key with the same content gives the same task again. Without a key, each call is a new task.
        """
        bundle = read_bundle(config, script, files)
        key = secrets.token_hex(16) if idempotency_key is None else check_key(idempotency_key)
        call = Call(
            "POST", routes.TASKS, headers={"Idempotency-Key": key}, open_body=lambda: open_form(bundle),
            body_size=bundle.size,
        )  # fmt: skip
        try:
            return await self._ask(call, TaskAnswer)
        except UnreachableError as error:
            message = f"The task may have arrived. Submit again with the same key, {key}: it will not become two."
            step = " ".join(filter(None, (error.problem.next_step, message)))
            raise UnreachableError(error.problem.model_copy(update={"next_step": step})) from error

    async def tasks(self, *, state: State | str | None = None, limit: int = 50, before: str | None = None) -> TaskList:
        """List tasks, newest first. `before`: the `next` of the previous page."""
        query = (
            {"limit": str(limit)} | ({"state": str(state)} if state else {}) | ({"before": before} if before else {})
        )
        return await self._ask(Call("GET", routes.TASKS, query=query), TaskList)

    async def task(self, task_id: str, *, waiting: bool = False) -> TaskAnswer:
        """Read one task with its attempts, history and config. `waiting`: try again for as long as `wait` does."""
        return await self._ask(Call("GET", build_path(routes.TASK, task_id=task_id), waiting=waiting), TaskAnswer)

    async def cancel(self, task_id: str) -> CancelAnswer:
        """Ask the cluster to cancel a task. Its state changes when the cluster has done so."""
        return await self._ask(Call("POST", build_path(routes.TASK_CANCEL, task_id=task_id)), CancelAnswer)

    async def hold(self, task_id: str) -> HoldAnswer:
        """Do not submit a task to Slurm until it is released. A job that Slurm already has goes on."""
        return await self._ask(Call("POST", build_path(routes.TASK_HOLD, task_id=task_id)), HoldAnswer)

    async def release(self, task_id: str) -> HoldAnswer:
        """Release a held task."""
        return await self._ask(Call("POST", build_path(routes.TASK_RELEASE, task_id=task_id)), HoldAnswer)

    async def wait(
        self,
        task_id: str,
        on_change: Callable[[TaskAnswer], None] | None = None,
        timeout_s: float | None = None,
    ) -> TaskAnswer:
        """Wait for a task's end and return it. `on_change` gets the task now and after every visible change.

        Raises WaitTimeoutError if it has not ended after `timeout_s` seconds. The task goes on.
        """
        check_timeout(timeout_s)
        with only_watching(task_id):
            return await wait_for_end(
                task_id, lambda: self.task(task_id, waiting=True), self._retry_policy.sleep, on_change, timeout_s
            )

    async def log(
        self,
        task_id: str,
        *,
        offset: int = 0,
        length: int = LOG_PIECE_BYTES,
        attempt: int | None = None,
        waiting: bool = False,
    ) -> LogChunk:
        """Read a piece of the log. A negative offset counts from the end. Default: the newest attempt's log."""
        query = {"offset": str(offset), "length": str(length)} | ({"attempt": str(attempt)} if attempt else {})
        path = build_path(routes.TASK_LOG, task_id=task_id)
        chunk = await self._transport.call(Call("GET", path, query=query, waiting=waiting), _read_chunk)
        return dataclasses.replace(chunk, attempt=attempt)

    async def follow_log(self, task_id: str, *, offset: int = 0, attempt: int | None = None) -> AsyncIterator[LogChunk]:
        """Yield the log as it grows, until the task ends. `skipped` of a chunk: bytes that were dropped before it."""
        source = LogSource(
            read=lambda at, number: self.log(task_id, offset=at, attempt=number, waiting=True),
            read_task=lambda: self.task(task_id, waiting=True),
            sleep=self._retry_policy.sleep,
        )
        with only_watching(task_id):
            async for chunk in follow_log(source, offset=offset, attempt=attempt):
                yield chunk

    async def outputs(self, task_id: str) -> Outputs:
        """List the files that the task has written to its outputs folder."""
        return await self._ask(Call("GET", build_path(routes.TASK_OUTPUTS, task_id=task_id)), Outputs)

    async def download(self, task_id: str, path: str, target: Path | str) -> int:
        """Download one output file to `target`, which is replaced whole or not at all. Return its size in bytes.

        A download that breaks off goes on where it ended, unless the file was replaced: then it begins anew.
        """
        with ExitStack() as stack:
            download = ResumableDownload(lambda: stack.enter_context(replace_when_whole(Path(target))))
            call = Call(
                "GET", build_path(routes.TASK_OUTPUT, task_id=task_id, path=path), accepts=download.accepts,
                build_headers=download.build_headers, count_progress=lambda: download.furthest,
            )  # fmt: skip
            return await self._transport.call(call, download.receive)

    async def create_token(self, name: str) -> TokenAnswer:
        """Create an API token. Only this answer shows it."""
        body = aiohttp.JsonPayload({"name": name})
        call = Call("POST", routes.TOKENS, open_body=lambda: _as_body(body), repeatable=False)
        return await self._ask(call, TokenAnswer)

    async def tokens(self) -> list[TokenAnswer]:
        """List the user's API tokens, without their values."""
        return await self._transport.call(Call("GET", routes.TOKENS), _read_tokens)

    async def revoke_token(self, token_id: str) -> None:
        """Revoke an API token, or the token of a login. "current" is the one that this client uses."""
        await self._transport.call(
            Call("DELETE", build_path(routes.TOKEN, token_id=token_id)), aiohttp.ClientResponse.read
        )

    async def _ask(self, call: Call, shape: type[M]) -> M:
        return await self._transport.call(call, lambda response: _read_answer(response, shape))


def _as_body(body: object) -> nullcontext[object]:
    return nullcontext(body)


async def _read_answer(response: aiohttp.ClientResponse, shape: type[M]) -> M:
    body = await response.read()
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        raise _not_a_gateway(response) from error


async def _read_tokens(response: aiohttp.ClientResponse) -> list[TokenAnswer]:
    body = await response.read()
    try:
        return TypeAdapter(list[TokenAnswer]).validate_json(body)
    except ValidationError as error:
        raise _not_a_gateway(response) from error


async def _read_chunk(response: aiohttp.ClientResponse) -> LogChunk:
    data = await response.read()
    headers: Mapping[str, str] = response.headers
    try:
        offset, size = int(headers["X-Mltm-Offset"]), int(headers["X-Mltm-Size"])
    except (KeyError, ValueError) as error:
        raise _not_a_gateway(response) from error
    return LogChunk(data, offset, size, final=headers.get("X-Mltm-Final", "").lower() in {"1", "true", "yes"})


def _not_a_gateway(response: aiohttp.ClientResponse) -> MltmError:
    return build_error(
        "not_a_gateway", f"{response.url.origin()} did not respond like a compatible gateway.",
        "Check the address. If it is right, update the client: the gateway may be newer.", status=500,
    )  # fmt: skip
