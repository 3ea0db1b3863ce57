"""The scenarios by name, and one seed of one of them, with a Slurm of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chaos.scenarios import agents, ambiguous, doubles, kills, points
from chaos.trial import Result, Setup, Slurm
from lab.cluster import running_lab
from lab.standin_control import running_standin

__all__ = ["SCENARIOS", "Wanted", "run_seed"]

SCENARIOS = {
    "points": points.run, "kills": kills.run, "ambiguous": ambiguous.run, "doubles": doubles.run, "agents": agents.run,
}  # fmt: skip
_ENDS_S, _CONTROL_ENDS_S = 300.0, 45.0  #: a control leaves tasks that never end


@dataclass(frozen=True)
class Wanted:
    """What the command line asks of every seed. faults: a seed's; None: the scenario's own number."""

    faults: int | None
    clients: int
    slurm: str
    control: str
    keep: Path | None


def run_seed(name: str, seed: int, wanted: Wanted) -> Result:
    """Run a scenario with one seed, and take everything down again."""
    with _open_slurm(wanted.slurm) as slurm:
        patience_s = _CONTROL_ENDS_S if wanted.control else _ENDS_S
        setup = Setup(
            name, seed, slurm, clients=wanted.clients, control=wanted.control, end_within_s=patience_s, keep=wanted.keep
        )
        return SCENARIOS[name](setup, wanted.faults)


@contextmanager
def _open_slurm(kind: str) -> Iterator[Slurm]:
    if kind == "real":
        with running_lab(min_job_age_s=10, kill_wait_s=5) as lab:
            yield lab
    else:
        with running_standin(min_job_age_s=10, kill_wait_s=1, accounting=False) as standin:
            yield standin
