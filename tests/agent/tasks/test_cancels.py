"""No job of a fenced attempt stays in Slurm, whatever happens between the fence and scancel; and nobody else's goes."""

from collections import Counter
from pathlib import Path

import pytest

from agent.settings import Bucket
from agent.slurm.rate_limits import TokenBucket
from agent.slurm.values import JobLine
from agent.spool.leftovers import list_leftovers, note_leftover
from agent.spool.records import link_fence
from agent.tasks import effects
from mltm.contract.ids import JobId
from mltm.contract.journal_records import Fence, JobClaim, render_record
from mltm.contract.spool_layout import Attempt
from mltm.runtime import files
from tests.agent.protocol.build import claim
from tests.agent.tasks.slurm_world import CountedSlurm, World, make_world, open_world, submit


@pytest.fixture
def world(tmp_path: Path) -> World[CountedSlurm]:
    """With the buckets that a site has by default."""
    built = make_world(tmp_path)
    built.slurm.bucket = TokenBucket(Bucket(burst=10, per_second=0.2), lambda: built.kit.now_s)
    return built


def read_states(world: World[CountedSlurm]) -> set[str]:
    return {job.state for job in world.slurm.jobs.values()}


def assert_idle(world: World[CountedSlurm]) -> None:
    """Nothing is left to do, and an hour of it costs no call."""
    assert list_leftovers(world.kit.spool) == []
    before = Counter(world.slurm.calls)
    world.run_for(3600)
    assert world.slurm.calls == before


@pytest.mark.parametrize("count", [1, 3, 10])
def test_a_job_that_no_poll_has_listed_is_cancelled_by_its_id(world: World[CountedSlurm], count: int) -> None:
    submit(world, 1)
    world.run(after_s=1)  # a poll: the next one is far away
    submit(world, count, first=2)
    for task_id in world.kit.tasks():
        world.ask_cancel(task_id)

    world.run_for(20)

    assert read_states(world) == {"CANCELLED"}
    assert_idle(world)


def test_many_tasks_that_are_cancelled_one_by_one_leave_no_job(world: World[CountedSlurm]) -> None:
    submit(world, 20)
    world.run(after_s=60)
    world.slurm.calls.clear()
    for task_id in world.kit.tasks():
        world.ask_cancel(task_id)
        world.run(after_s=0.35)

    world.run_for(15)

    assert read_states(world) == {"CANCELLED"}
    assert world.slurm.calls["scancel"] <= 5
    assert world.slurm.calls["squeue"] <= 5
    assert_idle(world)


@pytest.mark.parametrize("moment", ["before the fence", "after the fence"])
def test_a_kill_around_the_fence_loses_no_job(
    world: World[CountedSlurm], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    submit(world, 1)
    (task_id,) = world.kit.tasks()
    world.ask_cancel(task_id)

    def die(attempt: Attempt, record: Fence) -> JobClaim | Fence:
        if moment == "after the fence":
            link_fence(attempt, record)
        raise SystemExit("kill -9")

    with monkeypatch.context() as patch:
        patch.setattr(effects, "link_fence", die)
        with pytest.raises(SystemExit):
            world.run(after_s=1)
    again = open_world(world.kit, world.slurm)
    again.run_for(60)

    assert read_states(again) == {"CANCELLED"}
    assert_idle(again)


def test_a_kill_after_the_close_loses_no_job(world: World[CountedSlurm]) -> None:
    submit(world, 5)
    world.slurm.is_down = True
    for task_id in world.kit.tasks():
        world.ask_cancel(task_id)
    assert world.run(after_s=1).active == 5
    assert world.run(after_s=1).active == 0
    world.slurm.is_down = False
    again = open_world(world.kit, world.slurm)

    again.run_for(60)

    assert read_states(again) == {"CANCELLED"}
    assert_idle(again)


@pytest.mark.parametrize("count", [2, 8])
def test_a_slurm_that_is_away_for_hours_is_asked_seldom_and_cancels_at_last(
    world: World[CountedSlurm], count: int
) -> None:
    submit(world, count)
    world.slurm.is_down = True
    for task_id in world.kit.tasks():
        world.ask_cancel(task_id)
    world.run_for(60)
    world.slurm.calls.clear()

    world.run_for(4 * 3600)

    assert 4 * 11 <= sum(world.slurm.calls.values()) <= 4 * 13
    world.slurm.is_down = False
    world.run_for(301)
    assert read_states(world) == {"CANCELLED"}
    assert_idle(world)


@pytest.mark.parametrize("count", [1, 6])
def test_a_foreign_job_under_the_same_id_is_left_alone(world: World[CountedSlurm], count: int) -> None:
    names = submit(world, count)
    world.slurm.jobs = {f"not-{name}": JobLine(job.job_id, "PENDING", f"not-{name}")
                        for name, job in world.slurm.jobs.items()}  # fmt: skip
    for task_id in world.kit.tasks():
        world.ask_cancel(task_id)

    world.run_for(60)

    assert read_states(world) == {"PENDING"}
    assert len(world.slurm.jobs) == len(names)
    assert_idle(world)


def test_two_agents_cancel_and_come_to_rest(world: World[CountedSlurm]) -> None:
    submit(world, 5)
    other = open_world(world.kit, world.slurm)
    for task_id in world.kit.tasks():
        world.ask_cancel(task_id)

    for _ in range(30):
        world.run(after_s=1)
        other.run()

    assert read_states(world) == {"CANCELLED"}
    assert_idle(world)
    assert_idle(other)


def test_a_job_that_won_the_claim_is_not_a_leftover(world: World[CountedSlurm]) -> None:
    submit(world, 1)
    (task_id,) = world.kit.tasks()
    note_leftover(world.kit.spool, task_id, 1, "no_claim", world.kit.clock)
    world.run(after_s=1)
    assert len(list_leftovers(world.kit.spool)) == 1
    claimed = render_record(claim("1"))
    files.link_once(world.kit.spool.task(task_id).attempt(1).claim, claimed, world.kit.clock.nonce())

    world.run_for(60)

    assert list_leftovers(world.kit.spool) == []
    assert read_states(world) == {"PENDING"}


def test_a_job_whose_answer_was_lost_is_found_by_its_name(world: World[CountedSlurm]) -> None:
    world.slurm.is_mute = True
    (name,) = submit(world, 1)
    job = world.slurm.jobs.pop(name)
    (task_id,) = world.kit.tasks()
    world.ask_cancel(task_id)
    world.run_for(40)
    assert list_leftovers(world.kit.spool) == [name]
    world.slurm.jobs[name] = job  # it comes late

    world.run_for(60)

    assert read_states(world) == {"CANCELLED"}
    assert_idle(world)


@pytest.mark.parametrize("is_answered", [True, False])
def test_a_job_that_never_comes_is_looked_for_and_then_forgotten(
    world: World[CountedSlurm], *, is_answered: bool
) -> None:
    world.slurm.is_mute = True
    submit(world, 1)
    world.slurm.jobs = {}
    (task_id,) = world.kit.tasks()
    if not is_answered:
        files.remove(world.kit.spool.task(task_id).attempt(1).submitted)
    world.ask_cancel(task_id)
    world.run_for(60)
    assert len(list_leftovers(world.kit.spool)) == 1

    world.run_for(60 if is_answered else 400)

    assert world.slurm.calls["squeue"] <= (5 if is_answered else 16)
    assert world.slurm.calls["scancel"] == 0
    assert_idle(world)


def test_a_job_that_slurm_refuses_to_cancel_does_not_keep_the_others_waiting(
    world: World[CountedSlurm], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = submit(world, 2)
    stuck, cancel = JobId("1"), world.slurm.cancel

    def refuse(jobs: list[tuple[JobId, str]], **fields: object) -> object:
        world.slurm.is_down = any(job_id == stuck for job_id, _ in jobs)
        try:
            return cancel(jobs, **fields)  # type: ignore[arg-type] # handed on as they came
        finally:
            world.slurm.is_down = False

    monkeypatch.setattr(world.slurm, "cancel", refuse)
    for task_id in world.kit.tasks():
        world.ask_cancel(task_id)

    world.run_for(60)

    assert [world.slurm.jobs[name].state for name in names] == ["PENDING", "CANCELLED"]
