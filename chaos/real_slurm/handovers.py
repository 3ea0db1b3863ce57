"""An agent that runs as a Slurm job is handed over at its time limit, under a stream of tasks, in chains side by side.

The gap: from the last line that the old agent logged to the line in which its successor says that it has started.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from chaos.load.stream import Kind
from chaos.real_slurm.chain import ChainHouse
from chaos.real_slurm.handover import find_gaps
from chaos.trial import Result, Setup, Trial, open_trial, require_lab
from lab.slurm.layout import Lab

__all__ = ["run"]

_CHAINS = 5
_CLIENTS = 2
_MAX_GAP_S = 30.0
_ONE_TAKES_S = 240.0  #: a minute's limit, which Slurm looks at every half a minute, and the change
_SLOW = Kind("slow", frozenset({"succeeded"}), "time.sleep(20)", weight=8)  # these live through a handover


def run(setup: Setup, faults: int | None) -> Result:
    """Hand over so often (50 times by default), shared out among the chains; every second one is never warned."""
    lab, wanted = require_lab(setup), faults or 50
    chains = min(_CHAINS, wanted)
    shares = [wanted // chains + (number < wanted % chains) for number in range(chains)]
    with ThreadPoolExecutor(chains) as pool:
        results = list(pool.map(lambda number: _run_chain(setup, lab, number, shares[number]), range(chains)))
    return _join(setup, results)


def _run_chain(setup: Setup, lab: Lab, number: int, wanted: int) -> Result:
    chosen = replace(
        setup, seed=setup.seed * 100 + number, kinds=(*setup.kinds, _SLOW), clients=_CLIENTS, house=ChainHouse
    )
    with open_trial(chosen) as trial:
        house = trial.house
        assert isinstance(house, ChainHouse)
        house.start_chain(lab, is_warned=number % 2 == 0)
        trial.before_judging = lambda _: _measure(trial, house, wanted)
        until_s = time.monotonic() + (wanted + 1) * _ONE_TAKES_S
        while house.look() < wanted and time.monotonic() < until_s:
            time.sleep(1)
    return trial.result


def _measure(trial: Trial, house: ChainHouse, wanted: int) -> None:
    gaps, wrong = find_gaps(house.read_lives())
    trial.result.faults, trial.result.longest_gap_s = len(gaps), max(gaps, default=0.0)
    late = [f"nobody worked for {gap_s:.0f} s, more than {_MAX_GAP_S:.0f}" for gap_s in gaps if gap_s > _MAX_GAP_S]
    few = [f"{len(gaps)} handovers, and {wanted} were wanted"] if len(gaps) < wanted else []
    trial.stream.failures += wrong + late + few


def _join(setup: Setup, results: Sequence[Result]) -> Result:
    """One row of several chains."""
    whole = Result(setup.scenario, setup.seed, "real")
    for result in results:
        whole.tasks += result.tasks
        whole.faults += result.faults
        whole.wasted += result.wasted
        for kind in ("lost", "twice", "wrong"):
            getattr(whole.judgement, kind).extend(getattr(result.judgement, kind))
        whole.judgement.honest += result.judgement.honest
        whole.recover_s = max(whole.recover_s, result.recover_s)
        whole.took_s = max(whole.took_s, result.took_s)
        whole.longest_gap_s = max(whole.longest_gap_s, result.longest_gap_s)
    whole.counts["chains"] = len(results)
    return whole
