"""The scenarios by name, and one seed of one of them, with a Slurm of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chaos.real_slurm import controller, daemons, handovers
from chaos.scenarios import (
    agents,
    ambiguous,
    claims,
    clocks,
    database,
    disk,
    doubles,
    drops,
    kills,
    late,
    mixed,
    outage,
    points,
    slurm,
    stale,
    torn,
    writes,
)
from chaos.trial import Result, Setup, Slurm
from lab.slurm.cluster import running_lab
from lab.standin.control import running_standin

__all__ = ["REAL_SCENARIOS", "SCENARIOS", "Wanted", "run_seed"]

SCENARIOS = {
    "points": points.run, "kills": kills.run, "ambiguous": ambiguous.run, "late": late.run, "doubles": doubles.run,
    "agents": agents.run, "outage": outage.run, "drops": drops.run, "claims": claims.run,
    "slurm": slurm.run, "mixed": mixed.run,
    "disk": disk.run, "writes": writes.run, "torn": torn.run, "database": database.run, "stale": stale.run,
    "clocks": clocks.run,
}  # fmt: skip
#: These need the daemons of a real Slurm, so they run on one; by name only.
REAL_SCENARIOS = {"controller": controller.run, "daemons": daemons.run, "handovers": handovers.run}
_ENDS_S, _CONTROL_ENDS_S = 300.0, 45.0  #: a control leaves tasks that never end


@dataclass(frozen=True)
class Wanted:
    """What the command line asks of every seed. faults: a seed's (None: the scenario's own). tasks: in each outage."""

    faults: int | None
    clients: int
    slurm: str
    control: str
    keep: Path | None
    tasks: int


def run_seed(name: str, seed: int, wanted: Wanted) -> Result:
    """Run a scenario with one seed, and take everything down again."""
    with _open_slurm("real" if name in REAL_SCENARIOS else wanted.slurm) as opened:
        timeout_s = _CONTROL_ENDS_S if wanted.control else _ENDS_S
        setup = Setup(
            name, seed, opened, clients=wanted.clients, control=wanted.control, end_within_s=timeout_s,
            keep=wanted.keep, tasks=wanted.tasks,
        )  # fmt: skip
        return {**SCENARIOS, **REAL_SCENARIOS}[name](setup, wanted.faults)


@contextmanager
def _open_slurm(kind: str) -> Iterator[Slurm]:
    if kind == "real":
        # Nodes are asked every third of slurmd_timeout_s: so long Slurm shows jobs as running whose end a crash forgot.
        with running_lab(min_job_age_s=10, kill_wait_s=5, slurmd_timeout_s=30) as lab:
            yield lab
    else:
        with running_standin(min_job_age_s=10, kill_wait_s=1, accounting=False) as standin:
            yield standin
