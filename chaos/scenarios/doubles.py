"""slurmctld starts jobs a second time under their id, as after a crash; the copy that steps aside ends first.

Slurm also says now and then that it knows no job, while they run.
"""

import time
from dataclasses import replace

from chaos.load.stream import Kind
from chaos.scenarios.ambiguous import count_met, require_standin
from chaos.trial import Result, Setup, open_trial
from lab.standin.control import set_faults

__all__ = ["run"]

_TWICE = {"command": "start", "mode": "start_twice", "seconds": 0, "probability": 0.5}
_NONE = {"command": "squeue", "mode": "none", "probability": 0.5}
_KINDS = (Kind("longer", frozenset({"succeeded"}), "time.sleep(6)"), Kind("bad", frozenset({"failed"}), "sys.exit(3)"))


def run(setup: Setup, faults: int | None) -> Result:
    """Hand in tasks until so many jobs (50 by default) were started twice."""
    slurm = require_standin(setup)
    set_faults(slurm, _TWICE, _NONE, seed=setup.seed)
    with open_trial(replace(setup, kinds=_KINDS)) as trial:
        while (met := count_met(slurm, first=1)) < (faults or 50):
            time.sleep(0.2)
        trial.result.faults = met
    return trial.result
