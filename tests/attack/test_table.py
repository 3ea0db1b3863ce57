"""What the suite says of an attack that succeeds, of one that proves nothing, and of one that breaks off."""

import pytest

from attack.table import render_findings, render_table
from attack.trial import Result, Scenario, Tally, Trial, run_scenario


def pass_by(_: Trial) -> None:
    pass


def keep_guard() -> None:
    pass


def build(attack: Tally, control: Tally, *, needs: int = 1) -> Result:
    scenario = Scenario("T0", "get in", pass_by, keep_guard, control_needs=needs)
    return Result("door", scenario, attack, control)


REFUSED, REACHED = Tally(tries=5), Tally(tries=5, reached=["a window", "a door"])


def test_all_refused_and_a_control_that_succeeds_is_clean() -> None:
    result = build(REFUSED, REACHED)

    assert result.is_clean
    assert render_table([result]).splitlines()[-1] == "| door | T0 | get in | 5 | all | 2 of 5 reached |  |"
    assert render_findings(result, 7) == ""


@pytest.mark.parametrize(
    ("attack", "control", "cell", "finding"),
    [
        (REACHED, REACHED, "3, 2 REACHED", "door: reached: a window"),
        (REFUSED, REFUSED, "0 of 5 reached: PROVES NOTHING", "door: the attack proves nothing"),
        (Tally(), REACHED, "0, 0 REACHED", "door: nothing was tried"),
        (Tally(tries=5, broke_off="OSError: away"), REACHED, "BROKE OFF", "OSError: away"),
        (REFUSED, Tally(tries=5, reached=["a door"], broke_off="OSError: gone"), "BROKE OFF", "OSError: gone"),
    ],
)
def test_whatever_else_is_not_clean_and_is_said(attack: Tally, control: Tally, cell: str, finding: str) -> None:
    result = build(attack, control)

    assert not result.is_clean
    assert f"| {cell} |" in render_table([result])
    found = render_findings(result, 7)
    assert finding in found
    assert "again: make attack ATTACK='door --seed 7'" in found


def test_a_control_has_to_succeed_as_often_as_the_scenario_says() -> None:
    assert not build(REFUSED, REACHED, needs=3).is_proved
    assert build(REFUSED, REACHED, needs=2).is_proved


def test_attack_and_control_run_with_their_own_tries_and_guard() -> None:
    seen: list[tuple[int, str, int]] = []
    draws: list[float] = []

    def run(trial: Trial) -> None:
        seen.append((trial.tries, trial.guard, trial.needs))
        draws.append(trial.rng.random())
        assert trial.folder.stat().st_mode & 0o777 == 0o755
        trial.tally.count("in" if trial.guard else "")

    scenario = Scenario("T0", "get in", run, keep_guard, tries=9, control_tries=4, control_needs=1)
    result = run_scenario("door", scenario, seed=3, tries=2, keep=None)

    assert seen == [(2, "", 0), (4, f"{__name__}:keep_guard", 1)]
    assert draws[0] == draws[1]
    assert result.is_clean


def test_an_attack_that_breaks_off_refuses_nothing() -> None:
    def run(trial: Trial) -> None:
        trial.tally.count()
        raise OSError("the house did not open")

    result = run_scenario("door", Scenario("T0", "get in", run, keep_guard), seed=1, tries=1, keep=None)

    assert not result.is_refused
    assert "the house did not open" in result.attack.broke_off
