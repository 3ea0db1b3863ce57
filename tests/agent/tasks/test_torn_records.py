"""A damaged intent or claim: its task alone waits, says so in words, and goes on when the file is put right."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mltm.contract.ids import TaskId
from mltm.contract.journal_records import render_record
from mltm.contract.spool_layout import Attempt
from mltm.contract.states import State
from tests.agent.protocol import build
from tests.agent.spool.build import TASK, send
from tests.agent.tasks.slurm_world import CountedSlurm, World, make_world

NEXT = TaskId("0190a0b0c0d07e0f8a0b0c0d0e0f0a0c")
TORN: dict[str, Callable[[bytes], bytes | Path | None]] = {
    "empty": lambda _: b"",
    "half": lambda whole: whole[: len(whole) // 2],
    "zeros": lambda whole: bytes(len(whole)),
    "foreign": lambda _: b'{"kind":"exit","code":0}\n',
    "folder": lambda _: None,
    "link": lambda _: Path("nowhere"),
}


@pytest.fixture
def world(tmp_path: Path) -> World[CountedSlurm]:
    """Two tasks whose jobs are with Slurm."""
    world = make_world(tmp_path)
    for task_id in (TASK, NEXT):
        send(world.kit, task_id)
    world.run()
    assert world.slurm.calls["sbatch"] == 2
    return world


@pytest.fixture(params=TORN)
def torn(request: pytest.FixtureRequest) -> Callable[[bytes], bytes | Path | None]:
    return TORN[request.param]


def attempt(world: World[CountedSlurm], task_id: TaskId = TASK) -> Attempt:
    return world.kit.spool.task(task_id).attempt(1)


def put(path: Path, data: bytes | Path | None) -> None:
    """Put a file in place; None: a folder; a path: a link to it."""
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    if data is None:
        path.mkdir()
    elif isinstance(data, Path):
        path.symlink_to(data)
    else:
        path.write_bytes(data)


def claim(world: World[CountedSlurm], task_id: TaskId = TASK) -> bytes:
    data = render_record(build.claim())
    attempt(world, task_id).claim.write_bytes(data)
    return data


def end(world: World[CountedSlurm], task_id: TaskId = TASK) -> None:
    attempt(world, task_id).exit.write_bytes(render_record(build.exit_record(0)))


def told(world: World[CountedSlurm], task_id: TaskId = TASK) -> list[State]:
    return [report.state for report in world.outbox.read_oldest(500) if report.task_id == task_id]


def assert_waits_in_words(world: World[CountedSlurm], path: Path, before: list[State]) -> None:
    """Everything that would start or end another task speaks against this one; its record is what it waits for."""
    world.slurm.jobs.clear()
    for _ in range(4):
        problems = world.run(after_s=400).problems
        (message,) = [message for message in problems if TASK in message]
        assert f"{path} is damaged" in message
        assert "Restore it from a backup" in message
        assert "Do not remove or rewrite it" in message
    assert (told(world), world.slurm.calls["sbatch"]) == (before, 2)
    assert (world.kit.spool.active / TASK).exists()
    assert not world.kit.spool.tombstone(TASK).exists()


@pytest.mark.parametrize("kind", ["intent", "claim"])
def test_a_torn_record_keeps_its_own_task_waiting_until_it_is_put_right(
    world: World[CountedSlurm], kind: str, torn: Callable[[bytes], bytes | Path | None]
) -> None:
    claimed, before = claim(world), told(world)
    path, whole = (attempt(world).claim, claimed) if kind == "claim" else (attempt(world).intent, None)
    whole = whole or path.read_bytes()
    put(path, torn(whole))
    world.ask_cancel(TASK)
    claim(world, NEXT)
    end(world, NEXT)

    assert_waits_in_words(world, path, before)
    assert told(world, NEXT)[-1] is State.SUCCEEDED
    again = world.start_again()
    assert_waits_in_words(again, path, before)

    put(path, whole)
    end(again)
    assert again.run(after_s=31).problems == ()
    assert told(again)[-1] is State.SUCCEEDED
    assert again.slurm.calls["sbatch"] == 2


@pytest.mark.parametrize("by", ["note", "exit"])
def test_a_torn_claim_stops_nothing_where_its_owner_is_known_otherwise(
    world: World[CountedSlurm], by: str, torn: Callable[[bytes], bytes | Path | None]
) -> None:
    claimed = claim(world)
    if by == "note":
        world.run(after_s=31)
        assert attempt(world).note.exists()
    put(attempt(world).claim, torn(claimed))
    if by == "note":
        world.slurm.jobs.clear()
        for _ in range(2):
            assert not any(TASK in message for message in world.run(after_s=31).problems)
    end(world)
    world.run(after_s=31)

    assert told(world)[-1] is State.SUCCEEDED
    assert world.slurm.calls["sbatch"] == 2
