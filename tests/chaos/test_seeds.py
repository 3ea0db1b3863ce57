"""Seeds run in processes of their own: one that breaks takes no other with it, and an end ends all of them."""

import os
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from chaos.seeds import run_seeds
from chaos.trial import Result
from lab.processes import read_process, wait_until


def run_one(name: str, seed: int) -> Result:
    if name == "breaks":
        sys.exit(1)
    return Result(name, seed, "stand-in", tasks=os.getpid())


def run_for_ever(name: str, seed: int, *, folder: Path) -> Result:
    try:
        (folder / f"{name}.pid").write_text(str(os.getpid()))
        time.sleep(600 if seed else 0)
    finally:
        (folder / f"{name}.tidy").touch()
    return Result(name, seed, "stand-in")


def test_each_seed_has_a_process_of_its_own_and_one_that_breaks_is_named() -> None:
    seeds = [("one", 1), ("breaks", 2), ("one", 3)]
    ended = dict(run_seeds(run_one, seeds, 2))

    results = [ended["one", 1], ended["one", 3]]
    assert ended["breaks", 2] is None
    assert len({os.getpid(), *(result.tasks for result in results if result)}) == 3


@pytest.mark.timeout(60)
def test_whoever_leaves_early_ends_what_still_runs(tmp_path: Path) -> None:
    ended = run_seeds(partial(run_for_ever, folder=tmp_path), [("quick", 0), ("slow", 1)], 2)
    next(ended)
    assert wait_until((tmp_path / "slow.pid").exists, timeout_s=30)
    ended.close()

    assert (tmp_path / "slow.tidy").exists()
    assert read_process(int((tmp_path / "slow.pid").read_text())) is None
