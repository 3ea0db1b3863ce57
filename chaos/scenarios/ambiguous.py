"""sbatch leaves it open whether the job exists, or says something untrue; slurmctld starts a job twice under one id."""

import json
import time
from dataclasses import replace

from chaos.stream import Kind
from chaos.trial import Result, Setup, open_trial
from lab.standin_control import Standin, set_faults

__all__ = ["count_met", "require_standin", "run"]

_FAULTS = (
    {"command": "sbatch", "mode": "accept_and_time_out", "probability": 0.15},
    {"command": "sbatch", "mode": "accept_late", "seconds": 2, "probability": 0.1},
    {"command": "sbatch", "mode": "hang_after_accept", "seconds": 600, "probability": 0.01},
    {"command": "sbatch", "mode": "noise", "probability": 0.1},
    {"command": "sbatch", "mode": "forget", "probability": 0.1},
    {"command": "sbatch", "mode": "reuse_id", "probability": 0.1},
    {"command": "start", "mode": "start_twice", "seconds": 0, "probability": 0.1},
    {"command": "squeue", "mode": "fail", "probability": 0.05},
)


def run(setup: Setup, faults: int | None) -> Result:
    """Hand in tasks until so many of Slurm's answers were in doubt (100 by default)."""
    slurm = require_standin(setup)
    set_faults(slurm, *_FAULTS, seed=setup.seed)
    with open_trial(replace(setup, kinds=tuple(_soften(kind) for kind in setup.kinds))) as trial:
        while (met := count_met(slurm)) < (faults or 100):
            time.sleep(0.2)
        trial.result.faults = met
    return trial.result


def _soften(kind: Kind) -> Kind:
    """A running copy that Slurm knows no more is out of reach for a cancel: its code ends by itself."""
    if kind.cancel_when != "running":
        return kind
    return replace(kind, code="time.sleep(20)", ends=kind.ends | {"succeeded"})


def require_standin(setup: Setup) -> Standin:
    """The stand-in of a trial. Raises TypeError for a real Slurm, which has no such faults."""
    if not isinstance(setup.slurm, Standin):
        raise TypeError("Only the stand-in has these faults: leave --slurm real away.")
    return setup.slurm


def count_met(slurm: Standin) -> int:
    """How often a fault was met so far."""
    try:
        used: dict[str, list[int]] = json.loads((slurm.dir / "faults.used.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0
    return sum(uses for _, uses in used.values())
