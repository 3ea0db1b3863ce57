"""What a round costs Slurm, and that a new process goes on where a killed one stopped."""

import errno
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from agent.slurm.values import PollFailed, SbatchAnswer, SlurmFacts
from agent.tasks import sbatch_calls
from agent.tasks.context import TaskContext
from mltm.contract.ids import TaskId
from mltm.contract.states import State
from mltm.runtime import files
from tests.agent.protocol.build import exit_record
from tests.agent.spool.build import TASK, send
from tests.agent.tasks.slurm_world import CountedSlurm, World, make_world, open_world, submit

TASKS = 200


@pytest.fixture
def world(tmp_path: Path) -> World[CountedSlurm]:
    return make_world(tmp_path)


def test_an_idle_agent_makes_no_slurm_call(world: World[CountedSlurm]) -> None:
    for _ in range(5):
        world.run(after_s=60)

    assert world.slurm.calls == Counter()


def test_two_hundred_active_tasks_cost_one_squeue_a_cycle(world: World[CountedSlurm]) -> None:
    submit(world, TASKS)
    cycle_s = world.kit.settings.slurm.poll_interval_s
    world.run(after_s=cycle_s)
    before = world.slurm.calls["squeue"]

    for _ in range(3):
        assert world.run(after_s=cycle_s / 2).active == TASKS
        world.run(after_s=cycle_s / 2)

    assert world.slurm.calls["squeue"] - before == 3
    assert set(world.slurm.calls) == {"sbatch", "squeue", "scontrol"}
    assert world.slurm.calls["sbatch"] == TASKS


def test_an_answer_of_sbatch_that_cannot_be_written_is_kept_and_asked_for_once(
    world: World[CountedSlurm], monkeypatch: pytest.MonkeyPatch
) -> None:
    full: list[bool] = [True]

    def write(answer: SbatchAnswer, task_id: TaskId, number: int, context: TaskContext) -> None:
        if full and task_id.endswith("1"):
            raise OSError(errno.ENOSPC, "No space left on device")
        record_answer(answer, task_id, number, context)

    record_answer = sbatch_calls.record_answer
    monkeypatch.setattr(sbatch_calls, "record_answer", write)
    world.slurm.is_down = True  # otherwise the job is found by its name
    submit(world, 4)
    written = [world.kit.spool.task(task_id).attempt(1).submitted for task_id in world.kit.tasks()]
    problems = [world.run(after_s=1).problems for _ in range(3)][-1]

    assert [path.exists() for path in written] == [False, True, True, True]
    assert any("No space left" in problem for problem in problems)
    full.clear()
    assert not any("No space left" in problem for problem in world.run(after_s=1).problems)
    assert all(path.exists() for path in written)
    assert world.slurm.calls["sbatch"] == 4


def test_every_vanished_job_gets_its_turn_with_sacct(world: World[CountedSlurm]) -> None:
    world.slurm.facts = SlurmFacts("22.05.8", accounting=True)
    waits = world.kit.settings.waits.model_copy(update={"fence_after_s": 600})  # Slurm's word may still matter
    world.kit.settings = world.kit.settings.model_copy(update={"waits": waits})
    world = world.start_again()
    names = submit(world, 120)
    world.slurm.jobs = {}

    for _ in range(4):
        world.run(after_s=61)
        world.slurm.jobs = {}

    assert set(names) <= set(world.slurm.accounted)
    assert world.slurm.calls["sacct"] <= 4


@pytest.mark.parametrize("is_away", [True, False])
def test_slurms_settings_are_read_again(world: World[CountedSlurm], *, is_away: bool) -> None:
    submit(world, 1)
    world.run(after_s=31)
    world.slurm.is_down = is_away
    world.run(after_s=31 if is_away else 3600)
    world.slurm.is_down = False
    for _ in range(20):
        world.run(after_s=31)

    assert world.slurm.calls["scontrol"] == 2


def test_a_failed_poll_changes_nothing_and_is_said(world: World[CountedSlurm]) -> None:
    send(world.kit)
    world.run()
    reports = world.outbox.count()
    world.slurm.is_down, world.slurm.jobs = True, {}

    results = [world.run(after_s=600) for _ in range(5)]

    assert world.outbox.count() == reports
    assert any("squeue" in problem for problem in results[-1].problems)


def test_an_empty_bucket_is_no_word_about_slurm(world: World[CountedSlurm]) -> None:
    submit(world, 1)
    world.slurm.is_bucket_empty = True

    assert [problem for _ in range(5) for problem in world.run(after_s=60).problems] == []


def test_early_polls_leave_half_of_the_bucket(world: World[CountedSlurm]) -> None:
    submit(world, 1)
    (task_id,) = world.kit.tasks()
    waits = world.kit.settings.waits.model_copy(update={"poll_soon_s": 1})
    kit = world.kit
    kit.settings = kit.settings.model_copy(update={"waits": waits})
    again = open_world(kit, world.slurm)
    stopped = exit_record(0, job_id="1", stop_signals=[{"name": "TERM", "uptime_s": 1.0}]).model_dump_json()
    kit.spool.task(task_id).attempt(1).exit.write_text(stopped)
    world.slurm.jobs = {name: replace(job, state="COMPLETING") for name, job in world.slurm.jobs.items()}
    before = world.slurm.calls["squeue"]

    for _ in range(100):
        again.run(after_s=1)

    assert 9 <= world.slurm.calls["squeue"] - before <= 11


def test_a_new_process_adopts_what_a_killed_one_submitted(world: World[CountedSlurm]) -> None:
    """The kill fell between sbatch and the job id on disk: the job is found by its name, and sbatch is not repeated."""
    send(world.kit)
    world.run()
    (task_id,) = world.kit.tasks()
    files.remove(world.kit.spool.task(task_id).attempt(1).submitted)
    again = world.start_again()

    for _ in range(4):
        again.run(after_s=31)

    assert world.slurm.calls["sbatch"] == 1
    assert world.kit.spool.task(task_id).attempt(1).submitted.exists()


def test_an_exit_record_ends_the_task_without_another_call(world: World[CountedSlurm]) -> None:
    send(world.kit)
    world.run()
    (task_id,) = world.kit.tasks()
    attempt = world.kit.spool.task(task_id).attempt(1)
    record = exit_record(0).model_dump_json()
    attempt.exit.write_text(record)
    (world.kit.spool.bell / task_id).touch()
    calls = dict(world.slurm.calls)

    world.run(after_s=1)

    assert [report.state for report in world.outbox.read_oldest(50)][-1] is State.SUCCEEDED
    assert world.kit.spool.tombstone(task_id).exists()
    assert world.run(after_s=1).active == 0
    assert calls["sbatch"] == world.slurm.calls["sbatch"]


@pytest.mark.parametrize(("slurms", "used", "said"), [(12, "8.000", 1), (30, "20.000", 0), (90, "20.000", 0)])
def test_the_wrapper_is_done_before_slurms_own_kill(
    world: World[CountedSlurm], capsys: pytest.CaptureFixture[str], slurms: int, used: str, said: int
) -> None:
    world.slurm.facts = SlurmFacts("22.05.8", kill_wait_s=slurms)
    for number in range(2):
        send(world.kit, TaskId(f"{number + 1:032x}"))
        world.run(after_s=1)

    assert [request.args[9] for request in world.slurm.requests] == [used, used]
    assert capsys.readouterr().out.count("kill_wait_shortened") == said


def test_slurms_settings_are_asked_for_once_in_a_while_and_not_while_it_is_away(world: World[CountedSlurm]) -> None:
    send(world.kit)
    for _ in range(20):
        world.run(after_s=60)
    assert world.slurm.calls["scontrol"] == 1

    world.slurm.is_down = True
    for _ in range(5):
        world.run(after_s=3600)
    assert world.slurm.calls["scontrol"] == 1


def test_a_burst_of_new_tasks_asks_a_hanging_slurm_for_its_settings_once(world: World[CountedSlurm]) -> None:
    """Each question hangs until its time limit, which is longer than the pause before the next one."""
    asked: list[float] = []

    def hang() -> PollFailed:
        asked.append(world.kit.now_s)
        world.kit.now_s += world.kit.settings.slurm.query_timeout_s
        return PollFailed("timed out")

    world.slurm.describe = hang  # type: ignore[method-assign]  # hangs where the other answers
    for number in range(1, 51):
        send(world.kit, TaskId(f"{number:032x}"))
    world.run()

    assert len(world.slurm.requests) == 50
    assert len(asked) == 1


def test_between_two_polls_that_hang_there_is_time_for_the_rest(world: World[CountedSlurm]) -> None:
    submit(world, 1)
    asked: list[float] = []

    def hang(*, spare: int = 0) -> PollFailed:
        asked.append(world.kit.now_s)
        world.kit.now_s += world.kit.settings.slurm.query_timeout_s
        return PollFailed(f"timed out {spare}")

    world.slurm.list_jobs = hang  # type: ignore[method-assign]  # hangs where the other answers
    world.run(after_s=31)
    for number in range(2, 10):
        send(world.kit, TaskId(f"{number:032x}"))
        world.run(after_s=1)

    assert len(asked) == 1


def test_an_end_whose_bundle_nobody_takes_away_is_repeated_less_and_less(world: World[CountedSlurm]) -> None:
    """The gateway is away for a day: each report is a file, and a thousand tasks must not fill the spool."""
    send(world.kit)
    world.run()
    world.kit.spool.task(TASK).attempt(1).exit.write_text(exit_record(0, job_id="1").model_dump_json())
    world.ring()
    world.run_for(24 * 3600)

    assert world.kit.spool.tombstone(TASK).exists()
    assert 5 < world.outbox.count() < 40
