"""The command `python -m lab`: up, status, down, env, and standin-up for the stand-in."""

import argparse
import shlex
import sys
import time
from pathlib import Path

from lab import cluster, daemons, standin_control
from lab.errors import LabError
from lab.layout import Lab, LabOptions, read_lab
from lab.packages import ensure_programs

DEFAULT_DIR = Path(".lab")


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's description."""
    parser = argparse.ArgumentParser(prog="python -m lab", description="A real Slurm in one folder.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("up", "start a real Slurm, or say that it is up already"),
        ("status", "show daemons, nodes and jobs"),
        ("down", "stop it; no process is left behind"),
        ("env", "print what to export to use it"),
        ("standin-up", "make a stand-in for Slurm: no daemon, no root, proves nothing about Slurm"),
        ("standin-down", "end the stand-in's jobs"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--dir", type=Path, default=DEFAULT_DIR, help="the lab's folder (default: .lab)")
        if name == "up":
            _add_up_options(command)
    commands.add_parser("install", help="install the Debian packages of a lab with accounting, where they are missing")
    return parser


def _add_up_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--accounting", action=argparse.BooleanOptionalAction, default=False, help="slurmdbd, MariaDB")
    command.add_argument("--min-job-age", type=int, default=30, metavar="S", help="how long ended jobs stay listed")
    command.add_argument("--kill-wait", type=int, default=30, metavar="S", help="from TERM to KILL")
    command.add_argument("--slurmd-timeout", type=int, default=300, metavar="S", help="until a silent node is down")
    command.add_argument("--over-memory-kill", action="store_true", help="end jobs that use more memory than asked for")


def run_up(arguments: argparse.Namespace) -> None:
    """Start the lab and print how to use it."""
    options = LabOptions(
        dir=arguments.dir.resolve(),
        accounting=arguments.accounting,
        min_job_age_s=arguments.min_job_age,
        kill_wait_s=arguments.kill_wait,
        slurmd_timeout_s=arguments.slurmd_timeout,
        over_memory_kill=arguments.over_memory_kill,
    )
    known = read_lab(options.dir)
    if known is not None and cluster.is_up(known):
        if known.options != options:
            raise LabError(f"A lab with other options is up in {options.dir}. Take it down first: python -m lab down.")
        print(f"lab: already up in {known.dir}", file=sys.stderr)
        print_env(known)
        return
    started = time.monotonic()
    lab = cluster.up(options)
    print(f"lab: up in {lab.dir} after {time.monotonic() - started:.1f} s", file=sys.stderr)
    print_env(lab)


def print_env(lab: Lab | standin_control.Standin) -> None:
    """Print the lines a shell needs."""
    print(f"export SLURM_CONF={shlex.quote(str(lab.slurm_conf))}")
    if isinstance(lab, standin_control.Standin):
        print(f"export PATH={shlex.quote(str(lab.bin_dir))}:$PATH")


def print_status(lab: Lab) -> int:
    """Print daemons, nodes and jobs; return 0 when all daemons run."""
    states = cluster.daemon_states(lab)
    for name, alive in states.items():
        print(f"{name:12} {'up' if alive else 'down'}")
    if states["slurmctld"]:
        for node, state in cluster.read_node_states(lab).items():
            print(f"node {node:7} {state}")
        jobs = daemons.run_client(lab, ["squeue", "-h", "-o", "%i"]).stdout.split()
        print(f"jobs         {len(jobs)}")
    return 0 if all(states.values()) else 1


def find_lab(folder: Path) -> Lab:
    """Return the lab of a folder, or say that there is none."""
    lab = read_lab(folder.resolve())
    if lab is None:
        raise LabError(f"There is no lab in {folder.resolve()}. Start one with: python -m lab up --dir {folder}")
    return lab


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    arguments = build_parser().parse_args(argv)
    try:
        if arguments.command == "install":
            ensure_programs(accounting=True)
        elif arguments.command == "up":
            run_up(arguments)
        elif arguments.command == "status":
            return print_status(find_lab(arguments.dir))
        elif arguments.command == "standin-up":
            print_env(standin_control.up(arguments.dir))
        elif arguments.command == "standin-down":
            standin_control.down(standin_control.Standin(arguments.dir.resolve()))
        elif arguments.command == "env":
            print_env(find_lab(arguments.dir))
        elif (lab := read_lab(arguments.dir.resolve())) is not None:
            cluster.down(lab)
            print(f"lab: down in {lab.dir}", file=sys.stderr)
        else:
            print(f"lab: there is none in {arguments.dir.resolve()}, nothing to do", file=sys.stderr)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
