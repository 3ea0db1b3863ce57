import subprocess
import sys
from pathlib import Path

import pytest

from chaos.ledger import Expectation, Shown, judge, read_ends, read_starts, render_script

RERUN_CANCELLED = "Attempt 1 ended as lost; the rerun never started: It was cancelled before it started."
GOOD = Expectation(frozenset({"succeeded"}))
STOPPED = Expectation(frozenset({"cancelled", "succeeded"}))

KILLED = Expectation(frozenset({"succeeded", "failed", "lost"}), is_code_killed=True)


@pytest.mark.parametrize(
    ("wanted", "shown", "starts", "verdict"),
    [
        (GOOD, Shown("succeeded"), 1, ""),
        (GOOD, Shown("succeeded"), 2, "twice"),
        (GOOD, Shown("succeeded"), 0, "lost"),
        (GOOD, Shown("running"), 1, "lost"),
        (GOOD, None, 0, "lost"),
        (GOOD, Shown("rejected"), 1, "lost"),
        (GOOD, Shown("rejected"), 0, "wrong"),
        (GOOD, Shown("lost"), 1, "wrong"),
        (STOPPED, Shown("cancelled", "It was cancelled before it started."), 0, ""),
        (STOPPED, Shown("cancelled", "It was cancelled before it started."), 1, "lost"),
        (STOPPED, Shown("cancelled", "Cancelled while it ran."), 1, ""),
        (Expectation(frozenset({"succeeded", "lost"})), Shown("lost"), 0, ""),
        (STOPPED, Shown("cancelled", RERUN_CANCELLED), 1, ""),
        (STOPPED, Shown("cancelled", RERUN_CANCELLED), 0, ""),
        (KILLED, Shown("failed"), 0, ""),
        (KILLED, Shown("failed"), 1, ""),
        (KILLED, Shown("succeeded"), 0, "lost"),
        (Expectation(frozenset({"failed"})), Shown("failed"), 0, "lost"),
    ],
)
def test_tasks_are_judged_by_what_they_did(wanted: Expectation, shown: Shown | None, starts: int, verdict: str) -> None:
    found = judge({"t": wanted}, {"t": shown} if shown else {}, {"t": starts} if starts else {})

    named = [kind for kind in ("lost", "twice", "wrong") if getattr(found, kind)]
    assert named == ([verdict] if verdict else [])
    assert found.is_clean == (not verdict)


def test_a_task_that_nobody_handed_in_is_wrong() -> None:
    assert judge({}, {"t": Shown("succeeded")}, {}).wrong
    assert judge({}, {}, {"t": 1}).wrong


def test_a_success_needs_code_that_came_to_its_end() -> None:
    shown = {"t": Shown("succeeded")}

    assert judge({"t": GOOD}, shown, {"t": 1}, {"t"}).is_clean
    assert judge({"t": GOOD}, shown, {"t": 1}, set()).wrong


def test_a_tasks_script_says_that_it_started_before_it_does_anything(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    env = {"MLTM_TASK_ID": "one", "MLTM_ATTEMPT": "1"}
    for _ in range(2):
        subprocess.run([sys.executable, "-c", render_script(ledger, "sys.exit(3)")], env=env, check=False)

    assert read_starts(ledger) == {"one": 2}
    assert read_ends(ledger) == frozenset()

    subprocess.run([sys.executable, "-c", render_script(ledger, "")], env=env, check=False)
    assert read_ends(ledger) == {"one"}
