"""Waits for a task's end. Whatever ends the waiting, the task goes on, and the error says so. Knows no HTTP."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from mltm.contract.retry_delay import exponential_delay_s
from mltm.contract.user_api import TaskAnswer
from mltm.wire.errors import MltmError, build_error

__all__ = ["WaitTimeoutError", "check_timeout", "only_watching", "wait_for_end"]

FIRST_PAUSE_S = 0.5
MAX_PAUSE_S = 5.0
_NO_SUCH_TASK = frozenset({400, 404, 422})


class WaitTimeoutError(MltmError):
    """The task has not ended within the time that the caller gave. It goes on."""


async def wait_for_end(
    task_id: str,
    read_task: Callable[[], Awaitable[TaskAnswer]],
    sleep: Callable[[float], Awaitable[None]],
    on_change: Callable[[TaskAnswer], None] | None,
    timeout_s: float | None,
) -> TaskAnswer:
    """Read a task until it has ended. Raises WaitTimeoutError after `timeout_s` seconds (None: never)."""
    seen: list[TaskAnswer] = []
    limit = asyncio.timeout(timeout_s)
    try:
        async with limit:
            return await _read_until_end(read_task, sleep, on_change, seen)
    except TimeoutError:
        if not limit.expired():  # it is on_change's own
            raise
    state = f" It is {seen[-1].state.value}." if seen else ""
    error = build_error(
        "wait_timeout", f"Task {task_id} has not ended within {timeout_s:g} s.{state}",
        "The task goes on. Wait for it again, or cancel it.", status=408,
    )  # fmt: skip
    raise WaitTimeoutError(error.problem)


async def _read_until_end(
    read_task: Callable[[], Awaitable[TaskAnswer]],
    sleep: Callable[[float], Awaitable[None]],
    on_change: Callable[[TaskAnswer], None] | None,
    seen: list[TaskAnswer],
) -> TaskAnswer:
    looks_alike = 0
    while True:
        task = await read_task()
        if not seen or _looks(task) != _looks(seen[-1]):
            looks_alike = 0
            if on_change is not None:
                on_change(task)
        seen[:] = [task]
        if task.final:
            return task
        await sleep(exponential_delay_s(looks_alike, FIRST_PAUSE_S, MAX_PAUSE_S, factor=1.5))
        looks_alike += 1


def check_timeout(timeout_s: float | None) -> None:
    """Raise ValueError for a time in which nothing could be read."""
    if timeout_s is not None and not timeout_s > 0:
        raise ValueError(f"timeout_s has to be more than 0, or None for no limit (given: {timeout_s!r})")


@contextmanager
def only_watching(task_id: str) -> Iterator[None]:
    """Add to an error that ends the watching of a task, such as a token that has ended, that the task goes on."""
    try:
        yield
    except WaitTimeoutError:
        raise
    except MltmError as error:
        if error.problem.status in _NO_SUCH_TASK:
            raise
        step = f"{error.problem.next_step} Only the watching has ended: task {task_id} goes on.".strip()
        raise type(error)(error.problem.model_copy(update={"next_step": step})) from error


def _looks(task: TaskAnswer) -> tuple[object, ...]:
    last = task.attempts[-1] if task.attempts else None
    where = (last.attempt, last.job_id, last.node) if last else ()
    return (task.state, task.reason, task.note, task.cancel_requested, task.agent_silent_s is None, *where)
