"""A full disk under the tick: everything is kept, it is said in words, and work goes on when there is space."""

from pathlib import Path

from mltm.contract.ids import TaskId
from mltm.contract.states import State
from mltm.runtime import files
from tests.agent.protocol import build
from tests.agent.spool.build import send
from tests.agent.tasks.slurm_world import CountedSlurm, World, make_world
from tests.disk import fill_disk

NEXT = TaskId("0190a0b0c0d07e0f8a0b0c0d0e0f0a0c")


def free(disk: Path) -> None:
    (disk / "big").unlink()


def told(world: World[CountedSlurm], task_id: TaskId) -> list[State]:
    return [report.state for report in world.outbox.read_oldest(500) if report.task_id == task_id]


def test_what_comes_in_on_a_full_disk_waits_and_is_run_when_there_is_space(small_disk: Path) -> None:
    world = make_world(small_disk)
    send(world.kit)
    fill_disk(small_disk / "big")

    result = world.run()
    assert any("full" in message for message in result.problems), result.problems
    assert (world.slurm.calls["sbatch"], world.states()) == (0, [])

    free(small_disk)
    world.run(after_s=30)
    assert world.slurm.calls["sbatch"] == 1
    assert world.states()[-1] is State.PENDING


def test_an_end_on_a_full_disk_is_told_when_there_is_space(small_disk: Path) -> None:
    world = make_world(small_disk)
    send(world.kit)
    world.run()
    attempt = world.kit.spool.task(world.task_id).attempt(1)
    attempt.exit.write_text(build.exit_record(0).model_dump_json())
    world.ring()
    before = world.states()
    fill_disk(small_disk / "big")

    for _ in range(3):
        result = world.run(after_s=30)
        assert any("No space left" in message for message in result.problems), result.problems
    assert world.states() == before
    assert (world.kit.spool.active / world.task_id).exists()

    free(small_disk)
    world.run(after_s=30)
    assert world.states()[len(before) :] == [State.SUCCEEDED]
    assert world.kit.spool.tombstone(world.task_id).exists()
    assert files.list_names(world.kit.spool.bell) == []


def test_one_task_that_waits_for_space_starts_no_second_job_of_its_attempt(small_disk: Path) -> None:
    world = make_world(small_disk)
    send(world.kit)
    world.run()
    files.remove(world.kit.spool.task(world.task_id).attempt(1).submitted)  # as if killed before it was written
    again = world.start_again()
    fill_disk(small_disk / "big")
    for _ in range(4):
        again.run(after_s=31)

    free(small_disk)
    for _ in range(4):
        again.run(after_s=31)

    assert world.slurm.calls["sbatch"] == 1
    assert world.kit.spool.task(world.task_id).attempt(1).submitted.exists()
