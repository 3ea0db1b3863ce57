"""What the agent's rounds cost a real Slurm: its programs are counted as they are started."""

import math
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.slurm.client import MAX_PER_CALL, Slurm
from lab.slurm.controls import set_partition
from lab.slurm.layout import Lab
from mltm.contract.ids import TaskId
from tests.agent.slurm.clients import connect
from tests.agent.slurm.counting import build_counters, read_counts
from tests.agent.spool.build import send
from tests.agent.tasks.slurm_world import World, build_hands, open_world
from tests.lab.calls import call

pytestmark = pytest.mark.slurm
TASKS = 200


@pytest.fixture
def world(slurm_lab: Lab, tmp_path: Path) -> Iterator[World[Slurm]]:
    """200 tasks' jobs wait in a partition that is down; the clock moves only when the test moves it."""
    kit = build_hands(tmp_path)
    set_partition(slurm_lab, "cpu", "down")
    try:
        with connect(slurm_lab, kit.clock, path=str(build_counters(tmp_path))) as slurm:
            world = open_world(kit, slurm)
            for _ in range(3):
                world.run(after_s=31)
            assert read_counts(tmp_path) == Counter()
            for _ in range(TASKS):
                send(kit, TaskId(os.urandom(16).hex()))
            while read_counts(tmp_path)["sbatch"] < TASKS:
                world.run(after_s=1)
            yield world
    finally:
        set_partition(slurm_lab, "cpu", "up")
        call(slurm_lab, "scancel", "--me", "--state=PENDING")


def list_states(lab: Lab, world: World[Slurm]) -> set[str]:
    listed = call(lab, "squeue", "--me", "--states=all", "--noheader", "--format=%j %T").stdout.split("\n")
    ours = tuple(f"mltm-{task_id}" for task_id in world.kit.tasks())
    return {line.split()[1] for line in listed if line.startswith(ours)}


def test_active_tasks_cost_one_squeue_a_cycle(world: World[Slurm], tmp_path: Path) -> None:
    cycle_s = world.kit.settings.slurm.poll_interval_s
    world.run(after_s=cycle_s)
    before = read_counts(tmp_path)

    for _ in range(5):
        assert world.run(after_s=cycle_s / 2).active == TASKS
        world.run(after_s=cycle_s / 2)

    assert read_counts(tmp_path) - before == Counter(squeue=5)


@pytest.mark.timeout(240)
def test_many_cancels_cost_a_scancel_a_hundred_and_no_squeue_of_their_own(
    world: World[Slurm], slurm_lab: Lab, tmp_path: Path
) -> None:
    world.run(after_s=31)
    spent = Counter(squeue=1, scancel=math.ceil(TASKS / MAX_PER_CALL))
    before = read_counts(tmp_path)
    for task_id in world.kit.tasks():
        world.ask_cancel(task_id)

    world.run(after_s=31)

    assert read_counts(tmp_path) - before == spent
    assert list_states(slurm_lab, world) == {"CANCELLED"}
    world.run_for(600)
    assert read_counts(tmp_path) - before == spent
