"""What a trial stands on: its file systems and its clocks. Each is set up in the trial's folder, and goes with it."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from chaos.faults.points import Role
from lab.packages import GROUND_PROGRAMS, ensure_tools
from lab.processes import wait_until
from tests.disk import mount_disk

__all__ = [
    "SHARED",
    "TASK",
    "Ground",
    "counted_ground",
    "database_ground",
    "open_view",
    "open_views",
    "own_clocks",
    "plain_ground",
    "rough_ground",
    "set_clock",
    "small_disks",
]

TASK = "(01[0-9a-f]{10}7[0-9a-f]{3}[89ab][0-9a-f]{15})"  #: the task's id in a path (UUID 7), and no nonce
#: The place in a path that is no task's own. The database has a scenario of its own.
SHARED = r"^/\.?(?!gateway\.sqlite)(agent/\.?[a-z_]+|[^/.]+)"
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - shm_open(3) puts it there
_CLOCKED: tuple[Role, ...] = ("agent", "gateway", "wrapper")


@dataclass(frozen=True)
class Ground:
    """`jobs_view`: the spool as jobs see it. `gateway`: lines for its config. `waits`: the agent's, where they differ.

    `drop`: the drop folder as those see it who drop. `variables`: what is set for the processes of a role.
    """

    jobs_view: Path | None = None
    drop: Path | None = None
    gateway: str = ""
    waits: Mapping[str, float] = field(default_factory=dict)
    variables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def env(self, role: str) -> dict[str, str]:
        """Variables for a process of this role."""
        return dict(self.variables.get(role, {}))

    def render_first(self, spool: Path) -> str:
        """Render what the wrapper does first: its root is the jobs' view; its variables are the jobs' own."""
        lines = [f"export {name}='{value}'" for name, value in self.env("wrapper").items()]
        if self.jobs_view is not None:
            lines.append(f"[[ $1 != '{spool}'* ]] || set -- '{self.jobs_view}' \"${{@:2}}\"")
        return "\n".join(lines)


@contextmanager
def plain_ground(_folder: Path, waits: Mapping[str, float] | None = None) -> Iterator[Ground]:
    """Stand on the machine's own file system."""
    yield Ground(waits=waits or {})


@contextmanager
def open_view(
    source: Path, target: Path, plans: Path, *, stale_s: float = 0.0, counted: str = TASK, shared: str = ""
) -> Iterator[Path]:
    """Mount `source` a second time at `target`: so stale, with the faults planned in `plans`, until the block ends."""
    ensure_tools(GROUND_PROGRAMS, what="Programs for file systems and clocks of our own")
    for folder in (source, target):
        folder.mkdir(exist_ok=True)
    argv = [sys.executable, "-m", "chaos.ground.mount", *map(str, (source, target, plans)), "--stale", str(stale_s)]
    with (plans.parent / f"{plans.name}.log").open("ab") as log:
        server = subprocess.Popen([*argv, "--counted", counted, "--shared", shared], stdout=log, stderr=log)
    try:
        if not wait_until(target.is_mount, timeout_s=30):
            raise RuntimeError(f"{target} is not mounted: see {plans}.log")
        yield target
    finally:
        subprocess.run(["umount", "--lazy", str(target)], check=False, capture_output=True)
        server.terminate()
        server.wait()


@contextmanager
def open_views(
    folder: Path, names: Sequence[str] = ("spool",), *, stale_s: float = 0.0, waits: Mapping[str, float] | None = None
) -> Iterator[Ground]:
    """Give several views of one spool: those of `names` (the first is the gateway's, too), and the jobs'."""
    plans = folder / "writes"
    plans.mkdir()
    with ExitStack() as views:
        for name in (*names, "jobs"):
            views.enter_context(open_view(folder / "real", folder / name, plans / name, stale_s=stale_s))
        yield Ground(jobs_view=folder / "jobs", waits=waits or {})


@contextmanager
def counted_ground(folder: Path) -> Iterator[Ground]:
    """Put the spool as agent and gateway see it, as jobs do, and the gateway's files on views that count all of it."""
    plans = folder / "writes"
    plans.mkdir()
    with ExitStack() as views:
        for name, source in (("spool", "real"), ("jobs", "real"), ("gateway", "real-gateway")):
            views.enter_context(open_view(folder / source, folder / name, plans / name, shared=SHARED))
        yield Ground(jobs_view=folder / "jobs", drop=folder / "real" / "drop", gateway="min_free_bytes = 0\n")


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


@contextmanager
def own_clocks(folder: Path) -> Iterator[Ground]:
    """Give agent, gateway and jobs a clock each that can be set while they run; time since boot stays what it is."""
    ensure_tools(GROUND_PROGRAMS, what="Programs for file systems and clocks of our own")
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    (folder / "clocks").mkdir()
    variables: dict[str, dict[str, str]] = {}
    for role in _CLOCKED:
        set_clock(folder, role, 0)
        variables[role] = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(folder / "clocks" / role),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
    try:
        yield Ground(variables=variables)
    finally:
        _clear_away_after_the_dead()


def _clear_away_after_the_dead() -> None:
    """Remove what libfaketime keeps for each process, and leaves behind where that was killed."""
    for path in (*_SHARED_MEMORY.glob("faketime_shm_*"), *_SHARED_MEMORY.glob("sem.faketime_sem_*")):
        if not Path("/proc", path.name.rpartition("_")[2]).exists():
            path.unlink(missing_ok=True)


@contextmanager
def rough_ground(
    folder: Path, names: Sequence[str], *, stale_s: float, waits: Mapping[str, float], size_mb: int
) -> Iterator[Ground]:
    """All at once: a small disk beneath views that are stale (see `open_views`), and clocks that can be set."""
    disk = mount_disk(folder / "real", f"size={size_mb}m,mode=0755")
    with disk, open_views(folder, names, stale_s=stale_s, waits=waits) as views, own_clocks(folder) as clocks:
        yield replace(views, variables=clocks.variables)


def set_clock(folder: Path, role: Role, ahead_s: int) -> None:
    """Let a role's clock of the day go so much ahead of the machine's (or behind, negative) from now on."""
    building = folder / "clocks" / f".{role}"
    building.write_text(f"{ahead_s:+d}\n", encoding="ascii")
    building.rename(folder / "clocks" / role)
