"""What `make chaos` prints."""

from chaos.ledger import Judgement
from chaos.scenarios.ambiguous import find_waste
from chaos.table import render_findings, render_table, render_waits
from chaos.trial import Result


def result(**fields: object) -> Result:
    return Result("kills", 7, "stand-in", tasks=3, faults=3, **fields)  # type: ignore[arg-type] # its own fields


def test_each_seed_that_is_not_clean_or_not_whole_comes_with_the_command_that_replays_it() -> None:
    again = "again: make chaos CHAOS='kills --seed 7 --faults 350 --clients 12'"
    options = " --faults 350 --clients 12"

    assert render_findings([result()], options) == ""
    assert again in render_findings([result(judgement=Judgement(lost=["t"]))], options).splitlines()
    assert again in render_findings([result(missed=["kill before x"])], options).splitlines()


def test_the_waits_that_are_shorter_here_are_printed_beside_the_products() -> None:
    assert "fence_after_s 1.5 (60), late_accept_s 7.5 (300)" in render_waits()


def test_a_scenario_with_waits_of_its_own_says_so_in_its_row() -> None:
    assert "drop_quiet_s is 5, drop_give_up_s is 10" in render_table(
        [result(waits={"drop_quiet_s": 5.0, "drop_give_up_s": 10.0})]
    )
    assert "drop_quiet_s" not in render_table([result()])


def test_more_than_one_in_a_hundred_calls_in_doubt_may_not_cost_a_second_job() -> None:
    assert find_waste(5, 500) == []
    assert find_waste(6, 500)
    assert find_waste(30, 499) == []
