"""A record that was found is made durable before anything rests on it, and once: looking again costs nothing."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from agent.slurm.values import JobLine
from agent.spool.observations import list_kept
from mltm.contract.journal_records import Note, render_record
from mltm.contract.states import State
from mltm.runtime import files
from tests.agent.protocol import build
from tests.agent.spool.build import send
from tests.agent.tasks.slurm_world import CountedSlurm, World, make_world

REAL_SYNC = files.sync_folder


class Syncs:
    """Counts the folders that are synced; those in `broken` cannot be."""

    def __init__(self) -> None:
        self.seen: list[Path] = []
        self.broken: set[Path] = set()

    def __call__(self, folder: Path) -> None:
        self.seen.append(folder)
        if folder in self.broken:
            raise OSError(errno.EIO, "cannot be synced", str(folder))
        REAL_SYNC(folder)


@pytest.fixture
def world(tmp_path: Path) -> World[CountedSlurm]:
    world = make_world(tmp_path)
    bundle = send(world.kit)
    world.run()
    shutil.rmtree(bundle)  # as the gateway does
    return world


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> Syncs:
    syncs = Syncs()
    monkeypatch.setattr(files, "sync_folder", syncs)
    return syncs


def test_an_end_that_cannot_be_synced_is_not_told(world: World[CountedSlurm], syncs: Syncs) -> None:
    folder = world.kit.spool.task(world.task_id)
    folder.attempt(2).intent.write_bytes(render_record(build.closed(2, State.FAILED)))
    syncs.broken = {folder.control}

    assert "is blocked" in world.run(after_s=40).problems[0]
    assert State.FAILED not in world.states()
    assert not world.kit.spool.tombstone(world.task_id).exists()

    syncs.broken = set()
    world.run(after_s=40)
    assert world.states()[-1] is State.FAILED
    assert world.kit.spool.tombstone(world.task_id).exists()


def test_a_note_that_was_found_is_synced_where_it_lies(world: World[CountedSlurm], syncs: Syncs) -> None:
    attempt = world.kit.spool.task(world.task_id).attempt(1)
    attempt.claim.write_bytes(render_record(build.claim("1")))
    attempt.note.write_bytes(render_record(Note(claim=build.claim("1"), at=build.NOW)))
    syncs.broken = {world.kit.spool.notes}

    world.run(after_s=40)
    assert State.RUNNING not in world.states()

    syncs.broken = set()
    world.run(after_s=40)
    assert world.states()[-1] is State.RUNNING


def test_a_task_that_was_found_is_synced_before_it_is_called_taken(world: World[CountedSlurm], syncs: Syncs) -> None:
    """Whoever renamed it into tasks/ was killed before the sync: the gateway must not clear its copy yet."""
    again = world.start_again()
    before = len(again.states())
    syncs.broken = {world.kit.spool.tasks}
    world.forget_told()

    again.run(after_s=40)
    assert len(again.states()) == before

    syncs.broken = set()
    again.run(after_s=40)
    assert len(again.states()) == before + 1


def test_where_nothing_changed_nothing_is_synced(world: World[CountedSlurm], syncs: Syncs) -> None:
    world.run(after_s=31)
    world.run(after_s=31)
    syncs.seen.clear()

    for _ in range(5):
        world.run(after_s=31)

    assert syncs.seen == []


def test_a_beat_that_goes_on_is_not_kept_until_slurm_says_something(world: World[CountedSlurm], syncs: Syncs) -> None:
    """For each running task that would be two syncs a poll. What rule 5 counts is kept as soon as it can count."""
    attempt = world.kit.spool.task(world.task_id).attempt(1)
    attempt.claim.write_bytes(render_record(build.claim("1")))
    for at_s in range(3):
        attempt.beat.touch()
        os.utime(attempt.beat, (at_s, at_s))
        world.run(after_s=31)
    syncs.seen.clear()
    for at_s in range(5):
        os.utime(attempt.beat, (100 + at_s, 100 + at_s))
        world.run(after_s=31)
    assert syncs.seen == []

    stood_s = world.kit.now_s
    world.slurm.jobs.clear()
    world.run(after_s=31)

    (kept,) = list_kept(world.kit.spool, world.task_id)
    assert (kept.observed.beat_since_s, kept.observed.absent_polls) == (stood_s, 1)


def test_a_beat_behind_an_end_of_slurms_is_kept_each_time(world: World[CountedSlurm]) -> None:
    attempt = world.kit.spool.task(world.task_id).attempt(1)
    attempt.claim.write_bytes(render_record(build.claim("1")))
    ((name, line),) = world.slurm.jobs.items()
    world.slurm.jobs[name] = JobLine(line.job_id, "NODE_FAIL", name)
    for at_s in range(3):
        attempt.beat.touch()
        os.utime(attempt.beat, (at_s, at_s))
        world.run(after_s=31)

    (kept,) = list_kept(world.kit.spool, world.task_id)
    assert kept.observed.beat_since_s == world.kit.now_s
