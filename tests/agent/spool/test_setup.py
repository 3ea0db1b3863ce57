"""A spool's start: its id stays, an epoch is nobody else's, and what is wrong with a place is said in words."""

import threading
from pathlib import Path

import pytest

from agent.errors import SpoolError
from agent.spool.setup import prepare_spool
from tests.agent.spool.build import TASK, SpoolKit, send


def test_a_second_start_finds_the_same_id_and_takes_the_next_epoch(kit: SpoolKit) -> None:
    second, third = (prepare_spool(kit.settings, kit.clock) for _ in range(2))
    assert second.spool_id == third.spool_id
    assert (second.epoch, third.epoch) == (2, 3)


def test_agents_that_start_together_take_different_epochs(kit: SpoolKit) -> None:
    epochs: list[int] = []
    starts = [
        threading.Thread(target=lambda: epochs.append(prepare_spool(kit.settings, kit.clock).epoch)) for _ in range(6)
    ]
    for start in starts:
        start.start()
    for start in starts:
        start.join(30)
    assert sorted(epochs) == [2, 3, 4, 5, 6, 7]


def test_nobody_else_may_look_into_the_folders(kit: SpoolKit) -> None:
    assert {path.stat().st_mode & 0o777 for path in kit.spool.agent_folders} == {0o700}


@pytest.mark.parametrize("name", ["100%", "a:b", "a,b", "two\nlines", "back\\slash"])
def test_a_path_that_slurm_or_a_container_would_misread_is_refused(kit: SpoolKit, tmp_path: Path, name: str) -> None:
    settings = kit.settings.model_copy(update={"spool": tmp_path / name})
    with pytest.raises(SpoolError, match="cannot be used"):
        prepare_spool(settings, kit.clock)
    assert not (tmp_path / name).exists()


def test_a_relative_path_is_refused(kit: SpoolKit) -> None:
    with pytest.raises(SpoolError, match="not absolute"):
        prepare_spool(kit.settings.model_copy(update={"spool": Path("spool")}), kit.clock)


def test_a_folder_where_others_may_write_is_refused_with_what_to_do(kit: SpoolKit) -> None:
    kit.spool.taking.chmod(0o777)
    with pytest.raises(SpoolError, match="chmod 700"):
        prepare_spool(kit.settings, kit.clock)


def test_a_link_in_place_of_a_folder_is_refused(kit: SpoolKit, tmp_path: Path) -> None:
    kit.spool.bell.rmdir()
    (tmp_path / "elsewhere").mkdir()
    kit.spool.bell.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SpoolError, match="A file is where a folder should be"):
        prepare_spool(kit.settings, kit.clock)


def test_an_id_that_was_damaged_is_not_replaced(kit: SpoolKit) -> None:
    kit.spool.spool_id.write_text("?")
    with pytest.raises(SpoolError, match="backup"):
        prepare_spool(kit.settings, kit.clock)


def test_a_start_clears_what_killed_agents_left_of_settled_tasks_only(kit: SpoolKit) -> None:
    send(kit)
    control = kit.spool.task(TASK).control
    control.mkdir(parents=True)
    (control / "manifest.json").write_text("{}")
    needed = kit.spool.staging / f"{'b' * 32}.{'1' * 32}"
    for name in (f"{TASK}.{'1' * 32}", f".gone.{'2' * 32}", needed.name):
        (kit.spool.staging / name / "control").mkdir(parents=True)
    prepare_spool(kit.settings, kit.clock)
    assert kit.staged() == [needed]


def test_an_inbox_that_is_a_loop_of_links_is_said_in_words(kit: SpoolKit, tmp_path: Path) -> None:
    for one, other in (("here", "there"), ("there", "here")):
        (tmp_path / one).symlink_to(tmp_path / other)
    settings = kit.settings.model_copy(update={"inbox": tmp_path / "here"})
    with pytest.raises(SpoolError, match="does not exist, or this account may not look into it"):
        prepare_spool(settings, kit.clock)
