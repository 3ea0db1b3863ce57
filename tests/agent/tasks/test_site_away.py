"""A folder of the site that is away proves nothing: no task ends for it, and no attempt is spent on it."""

from pathlib import Path

import pytest

from agent.spool.records import link_intent
from agent.tasks import effects
from mltm.contract.journal_records import Closed, Note, Submit, render_record
from mltm.contract.spool_layout import Attempt
from mltm.contract.states import State
from tests.agent.protocol import build
from tests.agent.spool.build import send
from tests.agent.tasks.slurm_world import CountedSlurm, World, make_world


def put_away(folder: Path) -> Path:
    return (folder / "datasets").rename(folder / "unmounted")


def bring_back(folder: Path) -> None:
    (folder / "unmounted").rename(folder / "datasets")


def has_opened(world: World[CountedSlurm], attempt: int) -> bool:
    return world.kit.spool.task(world.task_id).attempt(attempt).intent.exists()


def test_a_task_whose_dataset_cannot_be_looked_for_waits_and_it_is_said(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    put_away(tmp_path)
    send(world.kit)

    for _ in range(3):
        problems = world.run(after_s=31).problems
        assert any(world.task_id in problem and "the folder is missing" in problem for problem in problems), problems
    assert not has_opened(world, 1)

    bring_back(tmp_path)
    world.run(after_s=31)
    assert world.states()[-1] is State.PENDING


def test_a_dataset_that_is_missing_from_a_folder_that_is_there_ends_the_task(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    (tmp_path / "datasets" / "wine_classification.csv").unlink()
    send(world.kit)

    world.run()
    assert world.states()[-1] is State.REJECTED


def test_a_folder_that_goes_away_between_the_intent_and_its_sbatch_costs_no_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(tmp_path)
    send(world.kit)

    def link_and_lose_the_folder(attempt: Attempt, intent: Submit) -> Submit | Closed:
        found = link_intent(attempt, intent)
        put_away(tmp_path)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(effects, "link_intent", link_and_lose_the_folder)
        assert any("the folder is missing" in problem for problem in world.run().problems)
    assert has_opened(world, 1)
    world.run(after_s=31)
    assert not world.kit.spool.task(world.task_id).attempt(1).claim.exists()

    bring_back(tmp_path)
    world.run(after_s=31)
    assert (world.slurm.calls["sbatch"], has_opened(world, 2)) == (1, False)


def test_a_rerun_that_the_site_refuses_ends_the_task_at_once(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    send(world.kit, rerun_on=["lost"])
    world.run()
    attempt, claim = world.kit.spool.task(world.task_id).attempt(1), build.claim("1")
    attempt.claim.write_bytes(render_record(claim))
    attempt.note.write_bytes(render_record(Note(claim=claim, at=build.NOW)))
    world.slurm.jobs.clear()  # Slurm has forgotten it
    (tmp_path / "datasets" / "wine_classification.csv").unlink()

    for _ in range(12):
        world.run(after_s=100)

    last = world.outbox.read_oldest(100)[-1]
    assert last.state is State.LOST
    assert "No rerun: There is no dataset 'wine_classification'" in last.message
