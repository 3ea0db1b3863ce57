"""One trial: a house, a stream of tasks, faults from a plan with a seed, and the judgement at the end."""

import contextlib
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import requests

from chaos.ground.trial_ground import Ground, plain_ground
from chaos.ledger import Judgement, Shown, judge, read_ends, read_starts
from chaos.load.stream import KINDS, Kind, Stream, read_shown
from chaos.product.house import ChaosHouse
from chaos.product.jobs import is_code
from lab import processes
from lab.slurm.layout import Lab
from lab.standin.control import Standin

__all__ = ["Result", "Setup", "Slurm", "Trial", "open_trial", "require_lab"]

Slurm = Standin | Lab


_CODE_ENDS_WITHIN_S = 30.0


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
    doubts: int = 0  #: calls of sbatch that left it open whether there is a job, where the scenario counts them
    judgement: Judgement = field(default_factory=Judgement)
    counts: Counter[str] = field(default_factory=Counter)  #: what else is worth a word, by that word
    waits: Mapping[str, float] = field(default_factory=dict)  #: the agent's that differ from every other scenario's
    longest_gap_s: float = 0.0  #: in which no agent worked
    recover_s: float = 0.0
    took_s: float = 0.0

    @property
    def is_clean(self) -> bool:
        """Nothing is wrong, and something was tried."""
        return self.judgement.is_clean and self.tasks > 0 and self.faults > 0


@dataclass(frozen=True)
class Setup:
    """How a trial is set up. `control`: a product that lacks a rule. `ground`: the file systems and clocks below it.

    `keep`: where the remains of a bad trial go. `tasks`: how many there are in each outage.
    """

    scenario: str
    seed: int
    slurm: Slurm
    kinds: tuple[Kind, ...] = KINDS
    clients: int = 6
    control: str = ""
    end_within_s: float = 300.0
    keep: Path | None = None
    ground: Callable[[Path], AbstractContextManager[Ground]] = plain_ground
    tasks: int = 1000
    house: type[ChaosHouse] = ChaosHouse


def require_lab(setup: Setup) -> Lab:
    """The real Slurm of a trial. Raises TypeError for the stand-in, which has no daemons to kill."""
    if not isinstance(setup.slurm, Lab):
        raise TypeError("This needs the daemons of a real Slurm: give --slurm real.")
    return setup.slurm


@dataclass
class Trial:
    """What a scenario works with; it counts its faults in `result`."""

    house: ChaosHouse
    stream: Stream
    slurm: Slurm
    result: Result
    #: what a scenario does once all has ended and before it is judged: say what was allowed, or what else went wrong
    before_judging: Callable[[Mapping[str, Shown]], object] = lambda _: None

    def judge_answers(self) -> None:
        """Call it wrong that a client was answered 500, if no fault excuses that."""
        if crashes := self.house.answers[500]:
            self.stream.failures.append(f"clients were answered 500 {crashes} times")


@contextlib.contextmanager
def open_trial(setup: Setup) -> Iterator[Trial]:
    """Open the house and the stream; when the block ends, wait for every task, judge, and take all of it down."""
    result = Result(setup.scenario, setup.seed, "stand-in" if isinstance(setup.slurm, Standin) else "real")
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{setup.scenario}-{setup.seed}-"))
    began_s = time.monotonic()
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        ground = cleanup.enter_context(setup.ground(folder))
        result.waits = ground.waits
        cleanup.callback(_keep, setup, result, folder)
        cleanup.callback(_end_jobs, folder)
        house = setup.house(folder, setup.slurm.env, ground, control=setup.control)
        cleanup.callback(house.stop)
        stream = Stream(house, setup.seed, kinds=setup.kinds, clients=setup.clients, timeout_s=setup.end_within_s)
        cleanup.callback(stream.dismiss)
        trial = Trial(house, stream, setup.slurm, result)
        stream.start()
        yield trial
        last_fault_s = time.monotonic()
        stream.stop()
        shown = wait_for_ends(house, stream, setup.end_within_s)
        result.recover_s = time.monotonic() - last_fault_s
        trial.before_judging(shown)
        result.tasks = len(stream.expected)
        result.judgement = judge(stream.expected, shown, read_starts(stream.ledger), read_ends(stream.ledger))
        result.judgement.wrong += [*stream.failures, *house.find_faults(), *_find_running(shown)]
        if result.recover_s > setup.end_within_s and not setup.control:
            result.judgement.wrong.append(f"the last task ended {result.recover_s:.0f} s after the last fault")
        result.wasted = sum(1 for _ in house.spool.glob("tasks/*/control/dup.*"))
    result.took_s = time.monotonic() - began_s


def _find_running(shown: Mapping[str, Shown]) -> list[str]:
    """Tasks that are shown as over while their code runs on. A job that was let go has some seconds to end."""
    over = {task_id.encode() for task_id, row in shown.items() if row.is_final}

    def is_code_of_these(pid: int) -> bool:
        return is_code(pid) and any(task_id in processes.read_proc_file(pid, "cmdline") for task_id in over)

    found: list[processes.Process] = []

    def is_none_left() -> bool:
        found[:] = processes.find_processes(is_code_of_these)
        return not found

    processes.wait_until(is_none_left, timeout_s=_CODE_ENDS_WITHIN_S, pause_s=0.5)
    lines = [
        processes.read_proc_file(each.pid, "cmdline").replace(b"\0", b" ").decode(errors="replace") for each in found
    ]
    return [f"shown as over, and its code runs: {line}" for line in lines]


def _end_jobs(folder: Path) -> None:
    """Kill what still runs in the trial's folder: it would go on writing there while the folder is removed."""

    def is_of_a_job(pid: int) -> bool:
        command = processes.read_proc_file(pid, "cmdline")
        return os.fsencode(folder) in command and b"chaos.ground.mount" not in command  # a mount is taken down later

    processes.kill_all(lambda: processes.find_processes(is_of_a_job))


def _keep(setup: Setup, result: Result, folder: Path) -> None:
    if setup.keep is not None and not result.is_clean:
        _copy(folder, setup.keep / folder.name)
        if isinstance(setup.slurm, Lab):
            _copy(setup.slurm.log_dir, setup.keep / folder.name / "slurm-logs")


def _copy(folder: Path, target: Path) -> None:
    with contextlib.suppress(shutil.Error):  # something was still at work there; the rest is copied
        shutil.copytree(folder, target, symlinks=True, dirs_exist_ok=True)


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
