"""An exit record that becomes visible late corrects the end openly, whoever dies on the way; or it is a note."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.spool.outbox import Outbox
from agent.tasks.corrections import Corrections
from mltm.contract.journal_records import Note, render_record
from mltm.contract.states import Evidence, State
from mltm.runtime import files
from tests.agent.protocol import build
from tests.agent.spool.build import send
from tests.agent.tasks.slurm_world import CountedSlurm, World, make_world


class KilledError(BaseException):
    """As kill -9: no `except` of ours catches it."""


@pytest.fixture
def world(tmp_path: Path) -> World[CountedSlurm]:
    world = make_world(tmp_path)
    bundle = send(world.kit)
    world.run()
    shutil.rmtree(bundle)  # as the gateway does
    return world


def own(world: World[CountedSlurm], number: int) -> None:
    attempt = world.kit.spool.task(world.task_id).attempt(number)
    attempt.claim.write_bytes(render_record(build.claim(str(number))))
    attempt.note.write_bytes(render_record(Note(claim=build.claim(str(number)), at=build.NOW)))


def lose(world: World[CountedSlurm]) -> None:
    """The task ran, is over, and has been closed as lost."""
    own(world, 1)
    world.kit.spool.task(world.task_id).attempt(2).intent.write_bytes(render_record(build.closed(2, State.LOST)))
    world.run(after_s=40)
    assert world.states()[-1] is State.LOST


def see_exit(world: World[CountedSlurm], number: int = 1) -> None:
    record = build.exit_record(0, job_id=str(number))
    world.kit.spool.task(world.task_id).attempt(number).exit.write_bytes(render_record(record))
    world.ring()


def ends(world: World[CountedSlurm]) -> list[tuple[State, Evidence]]:
    return [(report.state, report.evidence) for report in world.outbox.read_oldest(500) if report.closed]


def kill_before(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    def killed(*_arguments: object, **_options: object) -> None:
        raise KilledError

    monkeypatch.setattr(owner, name, killed)


def die_in_the_look(patch: pytest.MonkeyPatch) -> None:
    kill_before(patch, Corrections, "look_again")


def die_before_the_report(patch: pytest.MonkeyPatch) -> None:
    kill_before(patch, Outbox, "put")


def die_before_the_tombstone(patch: pytest.MonkeyPatch) -> None:
    kill_before(patch, files, "replace")


@pytest.mark.parametrize("die", [die_in_the_look, die_before_the_report, die_before_the_tombstone])
def test_a_correction_survives_a_kill_at_any_step(
    world: World[CountedSlurm], die: Callable[[pytest.MonkeyPatch], None]
) -> None:
    lose(world)
    see_exit(world)
    with pytest.MonkeyPatch.context() as patch:
        die(patch)
        with pytest.raises(KilledError):
            world.run()

    again = world.start_again()
    again.run()

    assert (State.SUCCEEDED, Evidence.AMENDED) in ends(again)
    assert b"amended" in world.kit.spool.tombstone(world.task_id).read_bytes()
    assert files.list_names(world.kit.spool.bell) == []


def test_a_correction_that_a_full_disk_stopped_is_made_later_without_another_bell(
    world: World[CountedSlurm], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    lose(world)
    see_exit(world)
    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "put", full)
        assert "No space left" in world.run().problems[0]

    world.run(after_s=30)

    assert ends(world)[-1] == (State.SUCCEEDED, Evidence.AMENDED)


def test_a_correction_is_told_once(world: World[CountedSlurm]) -> None:
    lose(world)
    see_exit(world)
    for _ in range(3):
        world.run(after_s=1)
        world.ring()

    assert ends(world).count((State.SUCCEEDED, Evidence.AMENDED)) == 1


def test_a_bell_that_rings_during_the_look_is_answered_by_another(
    world: World[CountedSlurm], monkeypatch: pytest.MonkeyPatch
) -> None:
    lose(world)
    world.ring()
    look_again = Corrections.look_again

    def look_and_hear(corrections: Corrections, *arguments: object) -> None:
        monkeypatch.undo()
        look_again(corrections, *arguments)  # type: ignore[arg-type]  # handed through
        see_exit(world)

    monkeypatch.setattr(Corrections, "look_again", look_and_hear)
    world.run()
    world.run(after_s=1)

    assert ends(world)[-1] == (State.SUCCEEDED, Evidence.AMENDED)


def test_a_late_exit_of_an_attempt_that_was_run_again_is_a_note_in_the_history(world: World[CountedSlurm]) -> None:
    own(world, 1)
    again = build.submit(2, State.NODE_FAIL)
    world.kit.spool.task(world.task_id).attempt(2).intent.write_bytes(render_record(again))
    own(world, 2)
    world.run(after_s=1)
    see_exit(world, 1)

    for _ in range(3):
        world.run(after_s=40)

    told = [report for report in world.outbox.read_oldest(500) if report.evidence is Evidence.EXIT]
    assert [(report.attempt, report.state, report.closed) for report in told] == [(1, State.SUCCEEDED, False)]
    assert "attempt 2" in told[0].message
    see_exit(world, 2)
    world.run(after_s=40)
    assert ends(world) == [(State.SUCCEEDED, Evidence.CLOSED)]


def test_a_task_that_is_looked_at_again_as_if_it_were_active_keeps_its_correction(world: World[CountedSlurm]) -> None:
    """The gateway publishes its bundle again, or another agent was slow: the marker is there once more."""
    lose(world)
    see_exit(world)
    world.run(after_s=1)
    (world.kit.spool.active / world.task_id).touch()
    again = world.start_again()
    again.run(after_s=1)

    assert again.run(after_s=1).active == 0
    assert ends(again)[-1] == (State.SUCCEEDED, Evidence.AMENDED)
    assert b"amended" in world.kit.spool.tombstone(world.task_id).read_bytes()


def test_a_bundle_that_comes_again_when_only_the_tombstone_is_left_is_answered(world: World[CountedSlurm]) -> None:
    """Otherwise a gateway that was put back from a backup shows the task as accepted for ever."""
    lose(world)
    see_exit(world)
    world.run(after_s=1)
    shutil.rmtree(world.kit.spool.task(world.task_id).path)
    world.outbox.remove(world.outbox.read_oldest(500))
    again = world.start_again()
    send(again.kit)
    again.run_for(300)

    told = again.outbox.read_oldest(500)
    assert told
    assert all(report.taken and report.closed for report in told)
    assert told[-1].evidence is Evidence.AMENDED
    assert not world.kit.spool.task(world.task_id).path.exists()
    again.run(after_s=1)
    assert again.run(after_s=1).active == 0
