"""Attempts are opened owner by owner: nobody waits for the end of somebody else's thousands."""

from pathlib import Path

import pytest

from agent.tasks.turn_order import TurnOrder
from mltm.contract.ids import TaskId, render_job_name
from tests.agent.spool.build import send
from tests.agent.tasks.slurm_world import make_world


def arrange(order: TurnOrder, tasks: str) -> str:
    """Each letter is an owner; so is each letter of the answer."""
    owners = {TaskId(f"{number:032x}"): owner for number, owner in enumerate(tasks)}
    return "".join(owners[task_id] for task_id in order.arrange(owners))


@pytest.mark.parametrize(
    ("tasks", "arranged"),
    [("", ""), ("aaa", "aaa"), ("aaab", "abaa"), ("aabbcc", "abcabc"), ("aaaabbc", "abcabaa"), ("cba", "cba")],
)
def test_each_owner_has_one_turn_before_anybody_has_a_second(tasks: str, arranged: str) -> None:
    assert arrange(TurnOrder(), tasks) == arranged


def test_an_owners_own_tasks_keep_their_order() -> None:
    tasks = [TaskId(f"{number:032x}") for number in (5, 3, 9)]
    assert list(TurnOrder().arrange(dict.fromkeys(tasks, "ana"))) == tasks


def test_who_has_waited_longest_comes_first() -> None:
    order = TurnOrder()
    for owner in "abcab":
        order.note_opened(owner)
    assert arrange(order, "aabbccd") == "dcabcab"


def test_with_more_owners_than_places_each_has_his_turn() -> None:
    order, opened = TurnOrder(), ""
    for _ in range(4):
        first = arrange(order, "abcdefgh" * 5)[:2]
        opened += first
        for owner in first:
            order.note_opened(owner)
    assert opened == "abcdefgh"


@pytest.mark.parametrize("owner_of_one", ["bob", "aaa"])
def test_one_task_behind_another_owners_hundreds_goes_out_in_the_next_round(tmp_path: Path, owner_of_one: str) -> None:
    world = make_world(tmp_path)
    for number in range(170):
        send(world.kit, TaskId(f"{number:032x}"), owner="ana")
    world.run()
    first = len(world.slurm.requests)
    one = TaskId("f" * 32)  # the last by its id
    send(world.kit, one, owner=owner_of_one)
    world.run(after_s=1)  # it comes in, and whose it is becomes known
    world.run(after_s=1)

    assert 0 < first < 100
    assert len(world.slurm.requests) < 170
    assert render_job_name(one, 1) in {request.job_name for request in world.slurm.requests}
