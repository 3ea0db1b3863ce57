import asyncio

import pytest

from mltm.runtime.events import wait_for_event


async def test_an_event_ends_the_wait_and_is_used_up() -> None:
    event = asyncio.Event()
    event.set()
    assert await wait_for_event(event, None)
    assert not event.is_set()
    assert not await wait_for_event(event, 0)


@pytest.mark.parametrize("timeout_s", [0.0, -5.0, 60.0])
async def test_an_event_that_is_set_counts_even_if_the_time_is_over(timeout_s: float) -> None:
    event = asyncio.Event()
    event.set()
    assert await wait_for_event(event, timeout_s)


async def test_an_event_that_comes_later_ends_the_wait() -> None:
    event = asyncio.Event()
    asyncio.get_running_loop().call_soon(event.set)
    assert await wait_for_event(event, 60)
