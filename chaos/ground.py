"""What a trial stands on: its file systems and its clocks. Each is set up in the trial's folder, and goes with it."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab.packages import ensure_tools
from lab.processes import wait_until
from tests.disk import mount_disk

__all__ = ["TASK", "Ground", "database_ground", "open_view", "plain_ground", "small_disks", "view_ground"]

TASK = "(01[0-9a-f]{10}7[0-9a-f]{3}[89ab][0-9a-f]{15})"  #: the task's id in a path (UUID 7), and no nonce
_FUSE = {"fusermount3": "fuse3"}


@dataclass(frozen=True)
class Ground:
    """`jobs_view`: the spool as jobs see it. `gateway`, `waits`: lines for its config and for the agent's waits.

    `variables`: what is set for the processes of a role.
    """

    jobs_view: Path | None = None
    gateway: str = ""
    waits: str = ""
    variables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def env(self, role: str) -> dict[str, str]:
        """Variables for a process of this role."""
        return dict(self.variables.get(role, {}))

    def render_first(self, spool: Path) -> str:
        """Render what the wrapper does first: its root is the jobs' view; its variables are the jobs' own."""
        lines = [f"export {name}='{value}'" for name, value in self.env("wrapper").items()]
        if self.jobs_view is not None:
            lines.append(f"[[ $1 != '{spool}' ]] || set -- '{self.jobs_view}' \"${{@:2}}\"")
        return "\n".join(lines)


@contextmanager
def plain_ground(_folder: Path) -> Iterator[Ground]:
    """Stand on the machine's own file system."""
    yield Ground()


@contextmanager
def open_view(source: Path, target: Path, plans: Path, *, stale_s: float = 0.0, counted: str = TASK) -> Iterator[Path]:
    """Mount `source` a second time at `target`: so stale, with the faults planned in `plans`, until the block ends."""
    ensure_tools(_FUSE, what="Programs for a file system of our own")
    for folder in (source, target):
        folder.mkdir(exist_ok=True)
    argv = [sys.executable, "-m", "chaos.mount", *map(str, (source, target, plans))]
    with (plans.parent / f"{plans.name}.log").open("ab") as log:
        server = subprocess.Popen([*argv, "--stale", str(stale_s), "--counted", counted], stdout=log, stderr=log)
    try:
        if not wait_until(target.is_mount, timeout_s=30):
            raise RuntimeError(f"{target} is not mounted: see {plans}.log")
        yield target
    finally:
        subprocess.run(["umount", "--lazy", str(target)], check=False, capture_output=True)
        server.terminate()
        server.wait()


def view_ground(*, stale_s: float = 0.0, waits: str = "") -> Callable[[Path], AbstractContextManager[Ground]]:
    """Build a ground with two views of one spool: the agent's with the gateway's, and the jobs'."""

    @contextmanager
    def stand(folder: Path) -> Iterator[Ground]:
        (folder / "writes").mkdir()
        with ExitStack() as views:
            for name, target in (("agent", "spool"), ("jobs", "jobs-spool")):
                plans = folder / "writes" / name
                views.enter_context(open_view(folder / "real", folder / target, plans, stale_s=stale_s))
            yield Ground(jobs_view=folder / "jobs-spool", waits=waits)

    return stand


@contextmanager
def database_ground(folder: Path) -> Iterator[Ground]:
    """Put the gateway's data on a view in which the operations on the database count."""
    (folder / "writes").mkdir()
    with open_view(folder / "real", folder / "gateway", folder / "writes" / "gateway", counted="sqlite"):
        yield Ground(gateway="min_free_bytes = 0\n")


@contextmanager
def small_disks(folder: Path) -> Iterator[Ground]:
    """Put spool and gateway on a small disk each."""
    with contextlib.ExitStack() as disks:
        for name in ("spool", "gateway"):
            disks.enter_context(mount_disk(folder / name, "size=24m,mode=0755"))
        yield Ground(gateway="min_free_bytes = 0\n")
