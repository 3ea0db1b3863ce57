"""`make chaos`: run scenarios and print the table. Exit 1: something was lost, started twice, wrong, or not reached."""

import argparse
import functools
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from chaos.run import REAL_SCENARIOS, SCENARIOS, Wanted, run_seed
from chaos.seeds import run_seeds, stop_on_term
from chaos.table import render_again, render_findings, render_table, render_waits
from chaos.trial import Result


def main() -> int:
    """Run what the command line asks for."""
    parser = _build_parser()
    options = _parse(parser)
    again = _render_options(parser, options)
    stop_on_term()
    wanted = Wanted(options.faults, options.clients, options.slurm, options.control, options.keep, options.tasks)
    names = options.scenarios or list(SCENARIOS)
    seeds = [(name, seed) for name in names for seed in range(options.seed, options.seed + options.seeds)]
    results: list[Result] = []
    try:
        for (name, seed), result in run_seeds(functools.partial(run_seed, wanted=wanted), seeds, options.jobs):
            print(f"chaos: {name}, seed {seed}: {_tell(result)}", file=sys.stderr, flush=True)
            results += [result] if result else []
            if result is None:
                print(render_again(name, seed, again), file=sys.stderr, flush=True)
    finally:  # whoever ends it early sees what was done by then
        results.sort(key=lambda result: seeds.index((result.scenario, result.seed)))
        print(render_table(results), f"\n{_tell_when()} {render_waits()}", sep="\n", flush=True)
        print(render_findings(results, again), file=sys.stderr, flush=True)
    is_whole = len(results) == len(seeds) and not any(result.missed for result in results)
    return 0 if is_whole and all(result.is_clean for result in results) else 1


def _tell_when() -> str:
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    return f"Commit {commit}, {datetime.now(UTC).date()}."


def _render_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> str:
    """What a seed alone has to be given to be the same."""
    given = {name: getattr(options, name) for name in _OF_A_SEED}
    return "".join(f" --{name} {value}" for name, value in given.items() if value != parser.get_default(name))


def _tell(result: Result | None) -> str:
    if result is None:
        return "broke off"
    message = f"{result.tasks} tasks, {result.faults} faults, {result.kills} kills, {result.took_s:.0f} s"
    message += f", {len(result.missed)} NOT REACHED" if result.missed else ""
    return message if result.is_clean else f"{message}, NOT CLEAN"


_OF_A_SEED = ("faults", "clients", "tasks", "slurm", "control")  #: the options that a seed's course depends on
_SCENARIO_HELP = f"of: {', '.join(SCENARIOS)}; default: all of these. On a real Slurm only: {', '.join(REAL_SCENARIOS)}"


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=_SCENARIO_HELP)
    parser.add_argument("--seed", type=int, default=1, help="the first seed; a failing one can be run alone")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, each with a fresh house")
    parser.add_argument("--jobs", type=int, default=1, help="how many seeds run side by side")
    parser.add_argument("--faults", type=int, help="how many faults a seed; the default is the scenario's")
    parser.add_argument("--clients", type=int, default=6, help="how many clients hand in tasks at once")
    parser.add_argument("--tasks", type=int, default=1000, help="how many tasks end in each outage")
    parser.add_argument("--slurm", choices=("standin", "real"), default="standin")
    parser.add_argument("--control", default="", help="a product that lacks a rule: the harness has to see its fault")
    parser.add_argument("--keep", type=Path, help="a folder for what is left of a trial that went wrong")
    return parser


def _parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    options = parser.parse_args()
    if unknown := set(options.scenarios) - {*SCENARIOS, *REAL_SCENARIOS}:
        parser.error(f"there is no scenario {', '.join(unknown)}; there are {', '.join([*SCENARIOS, *REAL_SCENARIOS])}")
    return options


if __name__ == "__main__":
    sys.exit(main())
