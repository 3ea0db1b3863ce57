import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from agent.daemon.tick_thread import TickThread


@pytest.fixture
def thread() -> Iterator[TickThread]:
    made = TickThread()
    yield made
    assert made.close()


async def test_steps_run_one_after_another_in_one_other_thread(thread: TickThread) -> None:
    order: list[int] = []

    def step(number: int) -> int:
        order.append(number)
        return threading.get_ident()

    ran_in = await asyncio.gather(*(thread.call(lambda n=n: step(n)) for n in range(5)))  # type: ignore[misc]  # bound now
    assert order == list(range(5))
    assert len(set(ran_in)) == 1
    assert threading.get_ident() not in ran_in


async def test_what_a_step_raises_comes_to_its_caller_and_ends_nothing(thread: TickThread) -> None:
    def fail() -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        await thread.call(fail)
    assert await thread.call(lambda: "next") == "next"


async def test_how_long_a_step_runs_can_be_seen_from_outside(thread: TickThread) -> None:
    began, may_end = threading.Event(), threading.Event()

    def step() -> bool:
        began.set()
        return may_end.wait(30)

    assert thread.busy_s(time.monotonic() + 1000) == 0
    call = asyncio.ensure_future(thread.call(step))
    await asyncio.to_thread(began.wait, 30)
    assert thread.busy_s(time.monotonic() + 1000) >= 1000
    may_end.set()
    assert await call
    await thread.call(lambda: None)


async def test_a_caller_that_went_away_disturbs_no_other(thread: TickThread) -> None:
    may_end = threading.Event()
    mistakes: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: mistakes.append(context))
    gone = asyncio.ensure_future(thread.call(lambda: may_end.wait(30)))
    await asyncio.sleep(0)
    gone.cancel()
    may_end.set()
    assert await thread.call(lambda: 7) == 7
    assert (gone.cancelled(), mistakes) == (True, [])


async def test_a_step_that_hangs_does_not_keep_the_agent_from_leaving() -> None:
    thread, may_end = TickThread(), threading.Event()
    hung = asyncio.ensure_future(thread.call(lambda: may_end.wait(30)))
    await asyncio.sleep(0)
    assert not thread.close(timeout_s=0)
    assert thread._thread.daemon
    may_end.set()
    assert await hung
    assert thread.close(30)


def test_a_loop_that_is_closed_is_told_nothing() -> None:
    thread, may_end = TickThread(), threading.Event()

    async def leave() -> None:
        call = asyncio.ensure_future(thread.call(lambda: may_end.wait(30)))
        await asyncio.sleep(0)
        call.cancel()

    asyncio.run(leave())
    may_end.set()
    assert thread.close(30)  # an error in the thread would fail this test (pytest's threadexception)
