"""After a fence: the wait for the next attempt is counted once, whoever fenced, and costs nothing meanwhile."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.spool.observations import list_kept
from agent.spool.records import link_fence
from mltm.contract.ids import TaskId
from mltm.contract.journal_records import Command, Fence, JobClaim, Refused, render_record
from mltm.contract.spool_layout import Attempt
from tests.agent.protocol import build
from tests.agent.spool.build import send
from tests.agent.tasks.slurm_world import CountedSlurm, World, make_world


@pytest.fixture
def world(tmp_path: Path) -> World[CountedSlurm]:
    world = make_world(tmp_path)
    send(world.kit)
    world.run()
    return world


def decline(world: World[CountedSlurm]) -> None:
    attempt = world.kit.spool.task(world.task_id).attempt(1)
    attempt.claim.write_bytes(render_record(build.claim("1")))
    message = Refused(nonce=build.NONCE, job_id="1", node="n1", check="sync", message="not synced")
    attempt.refused(build.NONCE).write_bytes(render_record(message))


def fence(world: World[CountedSlurm]) -> None:
    """As another agent on this spool does."""
    world.kit.spool.task(world.task_id).attempt(1).claim.write_bytes(render_record(build.fence("launch_failed")))


def hold(world: World[CountedSlurm]) -> None:
    control = world.kit.spool.task(world.task_id).control
    command = Command(kind="hold", command_id="c", at=build.NOW)
    (control / "hold.c").write_bytes(render_record(command))


def wait_for_attempt_two(world: World[CountedSlurm]) -> float:
    began_s = world.kit.now_s
    while not world.kit.spool.task(world.task_id).attempt(2).intent.exists():
        assert world.kit.now_s < began_s + 300
        world.run(after_s=1)
    return world.kit.now_s - began_s


@pytest.mark.parametrize("end", [decline, fence])
@pytest.mark.parametrize("is_restarted", [True, False])
def test_the_next_attempt_comes_after_one_back_off(
    world: World[CountedSlurm], end: Callable[[World[CountedSlurm]], None], *, is_restarted: bool
) -> None:
    end(world)
    world.run(after_s=1)
    world = world.start_again() if is_restarted else world

    waited_s = wait_for_attempt_two(world)

    assert world.kit.settings.waits.retry_first_s <= waited_s <= world.kit.settings.waits.retry_first_s + 2


def forestall(world: World[CountedSlurm], monkeypatch: pytest.MonkeyPatch, record: JobClaim | Fence) -> None:
    """Somebody's claim comes between the decision to fence and the link."""
    came: list[TaskId] = []

    def claim_first(attempt: Attempt, fence: Fence) -> JobClaim | Fence:
        monkeypatch.undo()
        came.append(attempt.task_id)
        attempt.claim.write_bytes(render_record(record))
        return link_fence(attempt, fence)

    monkeypatch.setattr("agent.tasks.effects.link_fence", claim_first)
    world.slurm.jobs.clear()
    while not came:
        world.run(after_s=1)


def test_a_fence_that_a_job_forestalled_dates_nothing(
    world: World[CountedSlurm], monkeypatch: pytest.MonkeyPatch
) -> None:
    forestall(world, monkeypatch, build.claim("1"))

    (kept,) = list_kept(world.kit.spool, world.task_id)
    assert kept.observed.fenced_since_s is None


def test_a_fence_that_another_agent_forestalled_is_waited_for_once(
    world: World[CountedSlurm], monkeypatch: pytest.MonkeyPatch
) -> None:
    forestall(world, monkeypatch, build.fence("ambiguous"))

    assert wait_for_attempt_two(world) <= world.kit.settings.waits.retry_first_s + 2


def test_a_task_that_is_held_after_a_fence_wakes_nobody_and_asks_slurm_nothing(world: World[CountedSlurm]) -> None:
    fence(world)
    hold(world)
    world.slurm.jobs.clear()
    world.run_for(300)
    before, rounds = dict(world.slurm.calls), 0
    until_s = world.kit.now_s + 300
    pause_s = 0.0
    while world.kit.now_s < until_s:
        pause_s = world.run(after_s=pause_s).wake_after_s
        rounds += 1

    assert rounds <= 12
    assert dict(world.slurm.calls) == before
