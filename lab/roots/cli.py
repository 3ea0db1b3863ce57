"""`python -m lab root …`: build a Debian root, run a command in it, run this checkout's tests in it."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.cache import find_cache
from lab.errors import LabError
from lab.roots.enter import make_writable, run_in_root
from lab.roots.images import images_folder
from lab.roots.pip_settings import read_pip_settings
from lab.roots.python_environment import ensure_root_python
from lab.roots.roots import IMAGE_BASE, SUITES, ensure_root, missing_for_roots

__all__ = ["add_root_commands", "run_root_command", "split_command"]

CHECKOUT = Path(__file__).resolve().parents[2]


def add_root_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command `root`."""
    root = commands.add_parser("root", help="a Debian root of another release: its Slurm, its Apptainer")
    words = root.add_subparsers(dest="word", required=True)
    build = words.add_parser("build", help="make it with mmdebstrap if the cache has none, and print its path")
    run = words.add_parser("run", help="run a command in it; the command's exit code is passed on")
    tests = words.add_parser("pytest", help="run this checkout's tests in it, as an ordinary user")
    for command in (build, run, tests):
        command.add_argument("suite", choices=sorted(SUITES))
    run.add_argument("--root", action="store_true", help="as root; otherwise as the ordinary user `lab`")
    run.add_argument("--read", action="append", type=Path, default=[], metavar="PATH", help="bind it, for reading only")
    run.add_argument("--write", action="append", type=Path, default=[], metavar="PATH", help="bind it")
    run.epilog, tests.epilog = "The command comes after --.", "pytest's arguments come after --."


def split_command(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return what is the lab's own and what comes after --."""
    place = argv.index("--") if "--" in argv else len(argv)
    return list(argv[:place]), list(argv[place + 1 :])


def run_root_command(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Do what the command line says, with what came after --; return the exit code. Raises LabError."""
    cache = find_cache(os.environ)
    if missing := missing_for_roots():
        return _do_without(missing, is_test=arguments.word == "pytest")
    root = ensure_root(SUITES[arguments.suite], cache)
    if arguments.word == "build":
        print(root)
        return 0
    if arguments.word == "pytest":
        return _run_tests(root, cache, argv)
    read, write = ([path.resolve() for path in paths] for paths in (arguments.read, arguments.write))
    if not argv:
        raise LabError("No command was given. Write it after --: python -m lab root run sid -- apptainer --version")
    return run_in_root(root, argv, as_user=not arguments.root, folder=Path.cwd(), read=read, write=write)


def _do_without(missing: str, *, is_test: bool) -> int:
    """Only a person's test run may go on without: in CI nothing is left out."""
    if not is_test or os.environ.get("CI"):
        raise LabError(f"{missing} Run it as root on a Debian machine.")
    print(f"lab: {missing} The tests in it are left out here; CI runs them.", file=sys.stderr)
    return 0


def _run_tests(root: Path, cache: Path, argv: Sequence[str]) -> int:
    pip = read_pip_settings(os.environ)
    environment = {
        **pip.variables,
        "MLTM_CACHE": str(cache),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis",  # noqa: S108 - inside the root, where /tmp is its own
        **{name: os.environ[name] for name in ("CI", "COLUMNS", "TERM") if name in os.environ},
    }
    python = ensure_root_python(root, CHECKOUT, cache, pip)
    pytest = [str(python / "bin" / "python"), "-m", "pytest", "-p", "no:cacheprovider", "--basetemp=/srv/pytest", *argv]
    return run_in_root(
        root,
        pytest,
        folder=CHECKOUT,
        read=[*pip.paths, CHECKOUT, python, ensure_root(IMAGE_BASE, cache)],
        write=[make_writable(images_folder(cache))],
        environment=environment,
    )
