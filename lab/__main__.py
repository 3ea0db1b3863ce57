"""The command `python -m lab`: up, status, down, env; standin-up: the stand-in; root, fresh: other Debian releases."""

import argparse
import shlex
import signal
import sys
import time
from pathlib import Path

from lab.errors import LabError
from lab.packages import BROWSER_PROGRAMS, TEST_PROGRAMS, ensure_programs, ensure_tools
from lab.roots.cli import add_root_commands, run_root_command, split_command
from lab.roots.fresh import add_fresh_command, run_fresh
from lab.slurm import cluster, daemons
from lab.slurm.layout import Lab, LabOptions, read_lab
from lab.standin import control

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
    install = commands.add_parser(
        "install", help="install the Debian packages that the tests need, if they are missing"
    )
    install.add_argument(
        "--no-slurm", action="store_true", help="without a lab's with accounting, and without a browser"
    )
    add_root_commands(commands)
    add_fresh_command(commands)
    return parser


def _add_up_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--accounting", action=argparse.BooleanOptionalAction, default=False, help="slurmdbd, MariaDB")
    command.add_argument("--min-job-age", type=int, default=30, metavar="S", help="how long ended jobs stay listed")
    command.add_argument("--kill-wait", type=int, default=30, metavar="S", help="from TERM to KILL")
    command.add_argument("--slurmd-timeout", type=int, default=300, metavar="S", help="until a silent node is down")
    command.add_argument("--enforce-part-limits", action="store_true", help="refuse at sbatch what no partition allows")
    command.add_argument("--over-memory-kill", action="store_true", help="end jobs that use more memory than asked for")


def run_up(arguments: argparse.Namespace) -> None:
    """Start the lab and print how to use it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended, as after Ctrl-C
    options = LabOptions(
        dir=arguments.dir.resolve(),
        accounting=arguments.accounting,
        min_job_age_s=arguments.min_job_age,
        kill_wait_s=arguments.kill_wait,
        slurmd_timeout_s=arguments.slurmd_timeout,
        over_memory_kill=arguments.over_memory_kill,
        enforce_part_limits=arguments.enforce_part_limits,
    )
    started = time.monotonic()
    was_up = (known := read_lab(options.dir)) is not None and cluster.is_up(known)
    lab = cluster.up(options)
    took = f"already up in {lab.dir}" if was_up else f"up in {lab.dir} after {time.monotonic() - started:.1f} s"
    print(f"lab: {took}", file=sys.stderr)
    print_env(lab)


def print_env(lab: Lab | control.Standin) -> None:
    """Print the lines a shell needs."""
    print(f"export SLURM_CONF={shlex.quote(str(lab.slurm_conf))}")
    if isinstance(lab, control.Standin):
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
    """Return the lab of a folder. Raises LabError if there is none."""
    lab = read_lab(folder.resolve())
    if lab is None:
        raise LabError(f"There is no lab in {folder.resolve()}. Start one with: python -m lab up --dir {folder}")
    return lab


def run_down(folder: Path) -> None:
    """Take the lab of a folder down, or say that there is none."""
    lab = read_lab(folder.resolve())
    if lab is None:
        print(f"lab: there is no lab in {folder.resolve()}, nothing to do", file=sys.stderr)
        return
    cluster.down(lab)
    print(f"lab: down in {lab.dir}", file=sys.stderr)


def run_install(*, with_slurm: bool) -> None:
    """Install what the tests call. Raises LabError."""
    if with_slurm:
        ensure_programs(accounting=True)
    wanted = TEST_PROGRAMS | (BROWSER_PROGRAMS if with_slurm else {})
    ensure_tools(wanted, what="Programs that the tests call")


def run(arguments: argparse.Namespace, command: list[str]) -> int:
    """Do what the command line asks for; return the exit code."""
    match arguments.command:
        case "install":
            run_install(with_slurm=not arguments.no_slurm)
        case "root":
            return run_root_command(arguments, command)
        case "fresh":
            return run_fresh(arguments.suites, command)
        case "up":
            run_up(arguments)
        case "status":
            return print_status(find_lab(arguments.dir))
        case "down":
            run_down(arguments.dir)
        case "env":
            print_env(find_lab(arguments.dir))
        case "standin-up":
            print_env(control.up(arguments.dir))
        case "standin-down":
            control.down(control.Standin(arguments.dir.resolve()))
        case _:
            raise AssertionError(arguments.command)
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    own, command = split_command(sys.argv[1:] if argv is None else argv)
    arguments = build_parser().parse_args(own)
    try:
        return run(arguments, command)
    except (LabError, OSError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
