"""Every named point, with every outcome: killed before and after it, failed before and after its effect."""

from chaos.faults.plan import build_plans
from chaos.strikes.strike import Walk
from chaos.trial import Result, Setup, open_trial
from lab.standin.control import Standin, set_faults

__all__ = ["run"]

# So that attempts are fenced and tried again too, and not only when something dies.
_DOUBT = (
    {"command": "sbatch", "mode": "accept_and_time_out", "probability": 0.05},
    {"command": "sbatch", "mode": "forget", "probability": 0.05},
    {"command": "sbatch", "mode": "error", "text": "sbatch: error: Socket timed out on send/recv operation",
     "exit_code": 1, "probability": 0.15},
)  # fmt: skip


def run(setup: Setup, faults: int | None) -> Result:
    """Strike at every point in the seed's order, again from the start where more faults are asked for."""
    if isinstance(setup.slurm, Standin):
        set_faults(setup.slurm, *_DOUBT, seed=setup.seed)
    once = len(build_plans(setup.seed, 1))
    wanted = once if faults is None else faults
    with open_trial(setup) as trial:
        Walk(build_plans(setup.seed, -(-wanted // once))[:wanted], trial).run()
    return trial.result
