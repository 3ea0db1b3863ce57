"""A script in a real Apptainer tries every way out over two attempts. The attack is tests/apptainer/test_escape.py.

It runs in the Debian root that has Apptainer, as an ordinary user. Each control there takes one guard out, and passes
if the same script gets out.
"""

import re
import sys

from attack.stage import run_outside
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_TESTS = "tests/apptainer/test_escape.py"
_CONTROLS = "test_without_"  #: how their names begin
_LINE = re.compile(rf"^{re.escape(_TESTS)}::(.+?) (PASSED|FAILED|ERROR|SKIPPED)", re.MULTILINE)


def run(trial: Trial) -> None:
    """Each test is a try: one of the attack reached something if it fails, one of the controls if it passes."""
    chosen, what_reaches = (_CONTROLS, "PASSED") if trial.guard else (f"not {_CONTROLS}", "FAILED")
    while trial.tally.tries < trial.tries:
        argv = ["root", "pytest", "sid", "--", "-v", "-p", "no:xdist", "-m", "apptainer", "-k", chosen, _TESTS]
        done = run_outside([sys.executable, "-m", "lab", *argv])
        told = _LINE.findall(done.stdout)
        if not told or any(outcome in {"ERROR", "SKIPPED"} for _, outcome in told):
            raise RuntimeError(f"the tests in the root did not run: {done.stdout[-3000:]}")
        for name, outcome in told:
            trial.tally.count(name if outcome == what_reaches else "")


def take_guard_out() -> None:
    """Each control takes out its own."""


SCENARIO = Scenario(
    threats="1.3, T6",
    tries_to="leave a real container: read and write the agent's files, other tasks, the node, over two attempts",
    run=run,
    take_guard_out=take_guard_out,
    tries=5,
    control_tries=7,
    control_needs=7,
)
