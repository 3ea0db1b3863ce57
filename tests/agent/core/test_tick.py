"""What a round costs Slurm, and that a new process goes on where a killed one stopped."""

from collections import Counter
from pathlib import Path

import pytest

from agent import files
from mltm.contract.ids import TaskId
from mltm.contract.states import State
from tests.agent.core.build import exit_record
from tests.agent.core.rounds import World, make_world
from tests.agent.spool.build import send

TASKS = 200


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def test_an_idle_agent_makes_no_slurm_call(world: World) -> None:
    for _ in range(5):
        world.run(after_s=60)

    assert world.slurm.calls == Counter()


def test_two_hundred_active_tasks_cost_one_squeue_a_cycle(world: World) -> None:
    for number in range(TASKS):
        send(world.hands, TaskId(f"{number + 1:032x}"))
    while world.slurm.calls["sbatch"] < TASKS:
        world.run(after_s=1)
    cycle_s = world.hands.settings.slurm.poll_interval_s
    world.run(after_s=cycle_s)
    before = world.slurm.calls["squeue"]

    for _ in range(3):
        assert world.run(after_s=cycle_s / 2).active == TASKS
        world.run(after_s=cycle_s / 2)

    assert world.slurm.calls["squeue"] - before == 3
    assert set(world.slurm.calls) == {"sbatch", "squeue", "scontrol"}
    assert world.slurm.calls["sbatch"] == TASKS


def test_a_failed_poll_changes_nothing_and_is_said(world: World) -> None:
    send(world.hands)
    world.run()
    reports = world.outbox.count()
    world.slurm.is_down, world.slurm.jobs = True, {}

    results = [world.run(after_s=600) for _ in range(5)]

    assert world.outbox.count() == reports
    assert any("squeue" in problem for problem in results[-1].problems)


def test_a_new_process_adopts_what_a_killed_one_submitted(world: World) -> None:
    """The kill fell between sbatch and the job id on disk: the job is found by its name, and sbatch is not repeated."""
    send(world.hands)
    world.run()
    (task_id,) = world.hands.tasks()
    files.remove(world.hands.spool.task(task_id).attempt(1).submitted)
    again = world.start_again()

    for _ in range(4):
        again.run(after_s=31)

    assert world.slurm.calls["sbatch"] == 1
    assert world.hands.spool.task(task_id).attempt(1).submitted.exists()


def test_an_exit_record_ends_the_task_without_another_call(world: World) -> None:
    send(world.hands)
    world.run()
    (task_id,) = world.hands.tasks()
    attempt = world.hands.spool.task(task_id).attempt(1)
    record = exit_record(0).model_dump_json()
    attempt.exit.write_text(record)
    (world.hands.spool.bell / task_id).touch()
    calls = dict(world.slurm.calls)

    world.run(after_s=1)

    assert [report.state for report in world.outbox.pending(50)][-1] is State.SUCCEEDED
    assert world.hands.spool.tombstone(task_id).exists()
    assert world.run(after_s=1).active == 0
    assert calls["sbatch"] == world.slurm.calls["sbatch"]
