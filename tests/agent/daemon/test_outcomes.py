"""What goes wrong with one task or one call, expected or not, is that one's alone, and is recorded at once."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from agent.settings import SlurmSettings
from agent.slurm import client
from agent.slurm.client import Slurm
from agent.slurm.request import SubmitRequest
from agent.slurm.shell import CommandResult
from agent.slurm.values import PollFailed, SbatchAnswer
from agent.tasks import turn_runner
from agent.tasks.facts import Facts, read_facts
from mltm.contract.ids import TaskId, parse_job_name
from mltm.contract.states import State
from mltm.runtime.clock import Clock
from tests.agent.spool.build import send
from tests.agent.tasks.slurm_world import CountedSlurm, World, make_world

FIRST, SECOND, THIRD = (TaskId(f"{number:032x}") for number in (1, 2, 3))


@pytest.fixture
def world(tmp_path: Path) -> World[CountedSlurm]:
    world = make_world(tmp_path)
    for task_id in (FIRST, SECOND, THIRD):
        send(world.kit, task_id)
    return world


def told(world: World[CountedSlurm], task_id: TaskId) -> State:
    return [report.state for report in world.outbox.read_oldest(100) if report.task_id == task_id][-1]


def test_an_unexpected_error_in_one_tasks_turn_stops_no_other(
    world: World[CountedSlurm], monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_for_the_second(task_id: TaskId, *rest: object) -> Facts:
        if task_id == SECOND:
            raise ZeroDivisionError("nobody thought of this")
        return read_facts(task_id, *rest)  # type: ignore[arg-type] # handed through

    with monkeypatch.context() as patch:
        patch.setattr(turn_runner, "read_facts", break_for_the_second)
        problems = world.run().problems

    assert [told(world, task_id) for task_id in (FIRST, THIRD)] == [State.PENDING, State.PENDING]
    assert any(SECOND in words and "nobody thought of this" in words for words in problems)
    world.run(after_s=31)
    assert told(world, SECOND) is State.PENDING


def test_answers_that_came_before_an_error_are_written(
    world: World[CountedSlurm], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever breaks while the third sbatch is waited for, the others' ids are on disk already."""
    submit_many = world.slurm.submit_many

    def break_at_the_third(
        requests: Sequence[SubmitRequest], *, wait_s: float = 20.0
    ) -> Iterator[tuple[str, SbatchAnswer]]:
        for name, answer in submit_many(requests, wait_s=wait_s):
            named = parse_job_name(name)
            if named is not None and named[0] == THIRD:
                raise ZeroDivisionError("nobody thought of this")
            yield name, answer

    monkeypatch.setattr(world.slurm, "submit_many", break_at_the_third)
    with pytest.raises(ZeroDivisionError):
        world.run()

    written = [world.kit.spool.task(task_id).attempt(1).submitted.exists() for task_id in (FIRST, SECOND, THIRD)]
    assert written == [True, True, False]


def test_an_unexpected_error_of_one_command_is_that_commands_own_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_for_two(argv: Sequence[str], **_: Mapping[str, object]) -> CommandResult:
        if argv[0] == "squeue" or "--job-name=two" in argv:
            raise OSError(22, "Invalid argument")
        return CommandResult(tuple(argv), 0, "7\n")

    monkeypatch.setattr(client, "run_command", break_for_two)
    slurm = Slurm(SlurmSettings(), {}, Clock())
    requests = [
        SubmitRequest(name, tmp_path, tmp_path / "out", tmp_path / "script") for name in ("one", "two", "three")
    ]
    answers = dict(slurm.submit_many(requests))
    listed = slurm.list_jobs()
    slurm.close()

    outcomes = {name: answer.outcome for name, answer in answers.items()}
    assert outcomes == {"one": "accepted", "two": "ambiguous", "three": "accepted"}
    assert "Invalid argument" in answers["two"].message
    assert isinstance(listed, PollFailed)
    assert "Invalid argument" in listed.message
