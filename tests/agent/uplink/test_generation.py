import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agent.errors import SpoolError
from agent.uplink.generation import GenerationWatch
from mltm.runtime import files
from tests.agent.uplink.build import UplinkKit


class Told:
    """Counts how often everything was reported again; may fail."""

    def __init__(self) -> None:
        self.count = 0
        self.error: Exception | None = None

    async def __call__(self) -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        self.count += 1


@pytest.fixture
def told() -> Told:
    return Told()


def build(uplink: UplinkKit, told: Callable[[], Awaitable[None]]) -> GenerationWatch:
    return GenerationWatch(uplink.spool.agent / "generation", told, uplink.alerts, uplink.clock)


async def test_a_new_generation_is_answered_once_and_remembered_by_the_spool(uplink: UplinkKit, told: Told) -> None:
    watch = build(uplink, told)
    for generation in ("one", "one", "two", "two"):
        await watch.compare(generation)
    assert told.count == 2
    await build(uplink, told).compare("two")
    (uplink.spool.agent / "generation").unlink()
    await watch.compare("two")  # known by now: no answer costs a look at the file
    assert told.count == 2


async def test_answers_that_come_together_report_once(uplink: UplinkKit, told: Told) -> None:
    watch = build(uplink, told)
    await asyncio.gather(*(watch.compare("one") for _ in range(5)))
    assert told.count == 1


@pytest.mark.parametrize("error", [SpoolError("The disk is full."), OSError(5, "Input/output error")])
async def test_what_failed_is_shown_and_done_at_the_next_answer(
    uplink: UplinkKit, told: Told, error: Exception
) -> None:
    watch, told.error = build(uplink, told), error
    await watch.compare("one")
    (shown,) = uplink.alerts.sentences()
    assert shown.startswith("Cannot report every task to the restored gateway yet")
    assert not (uplink.spool.agent / "generation").exists()
    told.error = None
    await watch.compare("one")
    assert (told.count, uplink.alerts.sentences()) == (1, [])


async def test_it_is_remembered_only_after_all_was_told(
    uplink: UplinkKit, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = build(uplink, told)

    def full(path: Path, *_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "replace", full)
        await watch.compare("one")
    assert (told.count, len(uplink.alerts.sentences())) == (1, 1)
    await watch.compare("one")
    assert (told.count, uplink.alerts.sentences()) == (2, [])
