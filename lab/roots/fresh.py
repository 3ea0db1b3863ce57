"""`make test-fresh`: a newcomer's way on bare Debians made for it: a clone of the commit, the demo, all tests.

Each run starts from the same root of the cache and leaves nothing in it; what it makes lies in the root's own /srv.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.cache import find_cache
from lab.errors import LabError
from lab.roots.enter import run_in_root
from lab.roots.pip_settings import PipSettings, read_pip_settings
from lab.roots.roots import BARE, ensure_root, missing_for_roots

__all__ = ["add_fresh_command", "build_environment", "pack_commit", "run_fresh", "try_commit"]

CHECKOUT = Path(__file__).resolve().parents[2]
GOALS = ("demo", "demo-down", "test")
# keep-going: what comes after a goal that failed is tried too
_NEWCOMER = """\
git -c advice.detachedHead=false -c init.defaultBranch=main clone --quiet "$1" /srv/project && cd /srv/project || exit 1
shift
exec make --keep-going "$@"
"""


def add_fresh_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command `fresh`."""
    fresh = commands.add_parser("fresh", help="try this commit on bare Debians: make demo, demo-down and test")
    fresh.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {' '.join(BARE)} (default: all)")
    fresh.epilog = f"make's goals come after -- (default: {' '.join(GOALS)})."


def run_fresh(suites: Sequence[str], goals: Sequence[str]) -> int:
    """Try the commit that is checked out on each bare Debian; return 1 when one failed. Raises LabError."""
    if unknown := sorted(set(suites) - set(BARE)):
        raise LabError(f"No bare Debian is called {' or '.join(unknown)} here. Choose from: {' '.join(BARE)}.")
    if missing := missing_for_roots():
        raise LabError(f"{missing} Run it as root on a Debian machine.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left behind, as after Ctrl-C
    with tempfile.TemporaryDirectory(prefix="lab-fresh-") as folder:
        commit = pack_commit(CHECKOUT, Path(folder))
        failed = [suite for suite in suites or BARE if not try_commit(suite, commit, goals or GOALS)]
    if failed:
        print(f"lab: failed on a bare Debian {' and '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def pack_commit(checkout: Path, folder: Path) -> Path:
    """Write the commit that is checked out, and its history, to a file that git can clone. Raises LabError."""
    target, git = folder / "commit.bundle", ["git", "-C", str(checkout)]
    done = subprocess.run(
        [*git, "bundle", "create", "--quiet", str(target), "HEAD"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LabError(f"git cannot pack the commit of {checkout}: {done.stderr.strip()}")
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=False).stdout
    if changed:
        print("lab: the commit is tried, without these changes:\n" + changed.rstrip(), file=sys.stderr)
    return target


def build_environment(pip: PipSettings, environment: Mapping[str, str]) -> dict[str, str]:
    """Build the variables for inside: a newcomer's, and how the packages are reached from here.

    CI: no part may be left out. The caches are on disk like /srv; the rest of the root is kept in memory.
    """
    shown = {name: environment[name] for name in ("COLUMNS", "TERM") if name in environment}
    return {**pip.variables, **shown, "CI": "true", "XDG_CACHE_HOME": "/srv/cache"}


def try_commit(suite: str, commit: Path, goals: Sequence[str]) -> bool:
    """Make the goals in a clone of the packed commit on a bare Debian; say how that went. Raises LabError."""
    root = ensure_root(BARE[suite], find_cache(os.environ))
    pip = read_pip_settings(os.environ)
    environment = build_environment(pip, os.environ) | {"DEMO_PORT": str(_find_free_port())}
    print(f"lab: a bare Debian {suite}: make {' '.join(goals)}", flush=True)
    started = time.monotonic()
    argv = ["sh", "-c", _NEWCOMER, "newcomer", str(commit), *goals]
    code = run_in_root(root, argv, as_user=False, read=[*pip.paths, commit], environment=environment)
    result = f"failed ({code})" if code else "passed"
    print(f"lab: a bare Debian {suite}: {result} after {time.monotonic() - started:.0f} s", flush=True)
    return not code


def _find_free_port() -> int:
    """Return a port for the demo: the network inside is the host's, where another demo may run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
