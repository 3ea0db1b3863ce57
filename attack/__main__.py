"""`make attack`: attack the product and print the table. Exit 1: an attack succeeded, or one of them proves nothing."""

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from attack.run import SCENARIOS
from attack.stage import enter_stage
from attack.table import render_findings, render_table
from attack.trial import Result, run_scenario


def main() -> int:
    """Run what the command line asks for."""
    parser = _build_parser()
    options = parser.parse_args()
    if unknown := set(options.scenarios) - set(SCENARIOS):
        parser.error(f"there is no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    if os.geteuid() != 0:
        parser.error("the parties need accounts of their own; run it as root")
    signal.signal(signal.SIGTERM, _stop)
    try:
        enter_stage()
    except OSError as error:
        parser.error(
            f"other accounts cannot reach Python or the project here, and mounts that would let them are not allowed "
            f"({error}); put both where everybody may read them"
        )
    results: list[Result] = []
    names = options.scenarios or list(SCENARIOS)
    try:
        for name in names:
            began_s = time.monotonic()
            results.append(
                run_scenario(name, SCENARIOS[name], seed=options.seed, tries=options.tries, keep=options.keep)
            )
            print(f"attack: {_tell(results[-1])}, {time.monotonic() - began_s:.0f} s", file=sys.stderr, flush=True)
            print(render_findings(results[-1], options.seed), end="", file=sys.stderr, flush=True)
    finally:  # whoever ends it early sees what was done by then
        print(render_table(results), flush=True)
    return 0 if len(results) == len(names) and all(result.is_clean for result in results) else 1


def _stop(number: int, frame: FrameType | None) -> None:
    """End as after ^C: what was started is ended."""
    del number, frame
    raise KeyboardInterrupt


def _tell(result: Result) -> str:
    verdict = "refused" if result.is_refused else "NOT REFUSED"
    return f"{result.name}: {verdict}, the control {'succeeds' if result.is_proved else 'PROVES NOTHING'}"


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="attack", description=__doc__)
    known = f"of: {', '.join(SCENARIOS)}; default: all"
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=known)
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same choices")
    parser.add_argument("--tries", type=int, help="how many tries; the default is the scenario's")
    parser.add_argument("--keep", type=Path, help="a folder for what the trials leave")
    return parser


if __name__ == "__main__":
    sys.exit(main())
