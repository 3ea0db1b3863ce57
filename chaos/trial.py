"""One trial: a house, a stream of tasks, faults from a plan with a seed, and the judgement at the end."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import requests

from chaos.house import ChaosHouse
from chaos.ledger import Judgement, Shown, judge, read_starts
from chaos.stream import KINDS, Kind, Stream, read_shown
from lab.layout import Lab
from lab.standin_control import Standin

__all__ = ["Result", "Setup", "Slurm", "Trial", "open_trial"]

Slurm = Standin | Lab


@dataclass
class Result:
    """A row of the table. kills: faults that ended a process. recover_s: from the last fault to the end."""

    scenario: str
    seed: int
    slurm: str
    tasks: int = 0
    faults: int = 0
    kills: int = 0
    missed: list[str] = field(default_factory=list)
    wasted: int = 0  #: copies that stepped aside: jobs that cost Slurm something and did nothing
    judgement: Judgement = field(default_factory=Judgement)
    recover_s: float = 0.0
    took_s: float = 0.0

    @property
    def is_clean(self) -> bool:
        """Nothing is wrong, and something was tried."""
        return self.judgement.is_clean and self.tasks > 0 and self.faults > 0


@dataclass(frozen=True)
class Setup:
    """How a trial is set up. `control`: a product that lacks a rule. `keep`: where the remains of a bad trial go."""

    scenario: str
    seed: int
    slurm: Slurm
    kinds: tuple[Kind, ...] = KINDS
    clients: int = 6
    control: str = ""
    end_within_s: float = 300.0
    keep: Path | None = None


@dataclass
class Trial:
    """What a scenario works with; it counts its faults in `result`."""

    house: ChaosHouse
    stream: Stream
    slurm: Slurm
    result: Result


@contextlib.contextmanager
def open_trial(setup: Setup) -> Iterator[Trial]:
    """Open the house and the stream; when the block ends, wait for every task, judge, and take all of it down."""
    scenario, seed, slurm = setup.scenario, setup.seed, setup.slurm
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{scenario}-{seed}-"))
    result = Result(scenario, seed, "stand-in" if isinstance(slurm, Standin) else "real")
    began_s = time.monotonic()
    house = ChaosHouse(folder, slurm.env, control=setup.control)
    stream = Stream(house, seed, kinds=setup.kinds, clients=setup.clients, patience_s=setup.end_within_s)
    try:
        stream.start()
        yield Trial(house, stream, slurm, result)
        last_fault_s = time.monotonic()
        stream.stop()
        shown = wait_for_ends(house, stream, setup.end_within_s)
        result.recover_s = time.monotonic() - last_fault_s
        result.tasks = len(stream.expected)
        result.judgement = judge(stream.expected, shown, read_starts(stream.ledger))
        result.judgement.wrong += stream.failures
        result.wasted = sum(1 for _ in house.spool.glob("tasks/*/control/dup.*"))
    finally:
        house.stop()
        result.took_s = time.monotonic() - began_s
        if setup.keep is not None and not result.is_clean:
            shutil.copytree(folder, setup.keep / folder.name, symlinks=True)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for_ends(house: ChaosHouse, stream: Stream, end_within_s: float) -> Mapping[str, Shown]:
    """Look until every task has ended, but not for ever; what has not is for the judge."""
    until_s = time.monotonic() + end_within_s
    shown: dict[str, Shown] = {}
    while time.monotonic() < until_s:
        with contextlib.suppress(requests.RequestException, ValueError, KeyError):
            shown = read_shown(house)
            if set(shown) >= set(stream.expected) and all(row.is_final for row in shown.values()):
                break
        time.sleep(0.2)
    return shown
