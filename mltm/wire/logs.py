"""Follows a growing log, whose middle may be dropped, across the attempts of a task. Knows no HTTP."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

from mltm.contract.retry_delay import exponential_delay_s
from mltm.contract.user_api import TaskAnswer

__all__ = ["LogChunk", "LogSource", "follow_log", "newest_attempt", "take_new"]

FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 5.0
LAST_READS = 3


@dataclass(frozen=True)
class LogChunk:
    """Bytes of one attempt's log from `offset` on. `size`: the log's length so far; `final`: it will not grow.

    `skipped` bytes before `offset` were dropped on the cluster, because the log was longer than its limit.
    """

    data: bytes
    offset: int
    size: int
    final: bool
    attempt: int | None = None
    skipped: int = 0

    @property
    def end(self) -> int:
        """Where the next chunk begins."""
        return self.offset + len(self.data)


@dataclass(frozen=True)
class LogSource:
    """Where a followed log comes from. Both functions ask the gateway; `sleep` waits between two requests."""

    read: Callable[[int, int], Awaitable[LogChunk]]  #: (offset, attempt)
    read_task: Callable[[], Awaitable[TaskAnswer]]
    sleep: Callable[[float], Awaitable[None]]


def take_new(chunk: LogChunk, position: int) -> LogChunk:
    """Remove what was read already, and count what is missing between `position` and the chunk."""
    overlap = min(max(0, position - chunk.offset), len(chunk.data))
    if position < 0:  # from the end: the answer says where that is
        return chunk
    begin = max(chunk.offset + overlap, position)
    return replace(chunk, data=chunk.data[overlap:], offset=begin, skipped=max(0, chunk.offset - position))


def newest_attempt(task: TaskAnswer) -> int | None:
    """The number of the newest attempt; None before the first."""
    return max((attempt.attempt for attempt in task.attempts), default=None)


async def follow_log(source: LogSource, *, offset: int = 0, attempt: int | None = None) -> AsyncIterator[LogChunk]:
    """Yield a log's new bytes until the task ends and all is read. Without `attempt`, of every later attempt too."""
    position, number, quiet = offset, attempt, 0
    while True:
        task = await source.read_task()
        number = newest_attempt(task) if number is None else number
        if number is not None:
            while True:
                chunk = take_new(await source.read(position, number), position)
                if chunk.data or chunk.skipped:
                    yield replace(chunk, attempt=number)
                    quiet = 0
                position = chunk.end if position >= 0 or chunk.data else position
                if not chunk.data or position >= chunk.size:
                    break
            # The task was read before the log, so the log that was read now has its last lines.
            newest = newest_attempt(task)
            if attempt is None and newest is not None and newest > number:
                number, position, quiet = newest, 0, 0
                continue
            if chunk.final and (task.final or attempt is not None):
                return
        # Nobody marks the log of a job that vanished with its node as final: it ends after some more requests.
        if task.final and (number is None or quiet >= LAST_READS):
            return
        quiet += 1
        await source.sleep(exponential_delay_s(quiet - 1, FIRST_PAUSE_S, MAX_PAUSE_S, factor=1.5))
