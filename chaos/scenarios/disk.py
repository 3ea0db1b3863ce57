"""A full disk, ENOSPC real: the spool's and the gateway's, each a small one of its own, filled and freed by turns."""

import contextlib
import random
import time
from dataclasses import replace

from chaos.ground import small_disks
from chaos.trial import Result, Setup, Trial, open_trial
from tests.disk import fill_disk

__all__ = ["run"]

# A job that finds no room for its records says so and does not start; the third time that is the task's end. Where the
# disk was full behind the claim, what the job could not write is lost with it.
_HONEST = frozenset({"rejected", "lost", "node_fail"})


def run(setup: Setup, faults: int | None) -> Result:
    """Fill a disk so often (12 times by default), each for up to five seconds."""
    rng = random.Random(setup.seed)  # noqa: S311 - a plan that can be replayed
    kinds = tuple(replace(kind, ends=kind.ends | _HONEST) for kind in setup.kinds if kind.way == "https")
    with open_trial(replace(setup, kinds=kinds, ground=small_disks)) as trial:
        while trial.result.faults < (faults or 12):
            time.sleep(rng.uniform(0.2, 2))
            _fill(rng.choice((("spool",), ("gateway",), ("spool", "gateway"))), rng, trial)
    return trial.result


def _fill(names: tuple[str, ...], rng: random.Random, trial: Trial) -> None:
    """Fill these disks but for a little, wait, and free them; a write may get that little first."""
    fillers = [trial.house.folder / name / ".filler" for name in names]
    for filler in fillers:
        with contextlib.suppress(OSError):
            fill_disk(filler, leave=rng.choice((0, 4096, 65536)))
    time.sleep(rng.uniform(0.3, 5))
    for filler in fillers:
        filler.unlink()
    trial.result.faults += 1
