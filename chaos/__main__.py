"""`make chaos`: run scenarios, print the table, exit 1 where something was lost, started twice or ended wrong."""

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chaos.scenarios import agents, ambiguous, clocks, database, disk, doubles, kills, points, stale, torn, writes
from chaos.table import render_findings, render_table
from chaos.trial import Result, Setup, Slurm
from lab.cluster import running_lab
from lab.standin_control import running_standin

SCENARIOS = {
    "points": points.run, "kills": kills.run, "ambiguous": ambiguous.run, "doubles": doubles.run, "agents": agents.run,
    "disk": disk.run, "writes": writes.run, "torn": torn.run, "database": database.run, "stale": stale.run,
    "clocks": clocks.run,
}  # fmt: skip


_ENDS_S, _CONTROL_ENDS_S = 300.0, 45.0  #: a control leaves tasks that never end


def main() -> int:
    """Run what the command line asks for."""
    options = _parse()
    signal.signal(signal.SIGTERM, _stop)  # so that everything that was started is ended
    results = [
        _run(name, seed, options)
        for name in options.scenarios or SCENARIOS
        for seed in range(options.seed, options.seed + options.seeds)
    ]
    print(render_table(results))
    print(render_findings(results), file=sys.stderr)
    return 0 if all(result.is_clean for result in results) else 1


def _stop(*_: object) -> None:
    raise SystemExit(143)


def _run(name: str, seed: int, options: argparse.Namespace) -> Result:
    with _open_slurm(options.slurm) as slurm:
        patience_s = _CONTROL_ENDS_S if options.control else _ENDS_S
        setup = Setup(
            name, seed, slurm, clients=options.clients, control=options.control, end_within_s=patience_s,
            keep=options.keep,
        )  # fmt: skip
        result = SCENARIOS[name](setup, options.faults)
    words = f"{result.tasks} tasks, {result.faults} faults, {result.took_s:.0f} s"
    print(f"chaos: {name}, seed {seed}: {words}", file=sys.stderr, flush=True)
    return result


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of: {', '.join(SCENARIOS)}; default: all")
    parser.add_argument("--seed", type=int, default=1, help="the first seed; a failing one can be run alone")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, each with a fresh house")
    parser.add_argument("--faults", type=int, help="how many faults a seed; the default is the scenario's")
    parser.add_argument("--clients", type=int, default=6, help="how many clients hand in tasks at once")
    parser.add_argument("--slurm", choices=("standin", "real"), default="standin")
    parser.add_argument("--control", default="", help="a product that lacks a rule: the harness has to see its fault")
    parser.add_argument("--keep", type=Path, help="a folder for what is left of a trial that went wrong")
    options = parser.parse_args()
    if unknown := set(options.scenarios) - set(SCENARIOS):
        parser.error(f"there is no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    return options


@contextmanager
def _open_slurm(kind: str) -> Iterator[Slurm]:
    if kind == "real":
        with running_lab(min_job_age_s=10, kill_wait_s=5) as lab:
            yield lab
    else:
        with running_standin(min_job_age_s=10, kill_wait_s=1, accounting=False) as standin:
            yield standin


if __name__ == "__main__":
    sys.exit(main())
