"""Drops that arrive bit by bit, in every way that people's programs have, and drops that never become whole.

Each script writes its name and its own sha256 into a ledger: a start from a part is one whose hash is not the whole's.
"""

import hashlib
import itertools
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from chaos.ground.trial_ground import plain_ground
from chaos.ledger import Judgement, render_script
from chaos.load.drop_ways import CUT_OFF, WAYS, Drop, ensure_programs
from chaos.trial import Result, Setup, Trial, open_trial
from lab.processes import wait_until
from tests.e2e.house import SEED

__all__ = ["Dropped", "judge_drops", "run"]

# 30 s and ten minutes of the product. Still far above what a loaded machine puts between two writes.
_WAITS = {"drop_quiet_s": 5.0, "drop_give_up_s": 10.0}
_AT_ONCE = 32  #: people, who wait for the receipt before they drop again: so the agent looks while files still grow
_PADDING = 60_000  #: bytes; a part of it is a valid script, too
_SAYS = """
import hashlib
with open({whole!r}, "ab", buffering=0) as ledger:
    ledger.write(f"{name} {{hashlib.sha256(open(__file__, 'rb').read()).hexdigest()}}\\n".encode())
"""


@dataclass(frozen=True)
class Dropped:
    """A drop and what is right for it. `sha256`: of the whole script; "" where it must never start."""

    name: str
    way: str
    sha256: str


def run(setup: Setup, faults: int | None) -> Result:
    """Drop so often in each way (300 times by default); a fault is a drop."""
    ensure_programs()
    ways = [*WAYS.items(), *CUT_OFF.items()] * (faults or 300)
    slower = replace(setup, clients=0, ground=partial(plain_ground, waits=_WAITS))
    with _find_elsewhere() as elsewhere, open_trial(slower) as trial, ThreadPoolExecutor(_AT_ONCE) as people:
        jobs = zip(itertools.repeat(trial), itertools.repeat(elsewhere), itertools.count(), ways)
        dropped = list(people.map(lambda job: _drop(*job, seed=setup.seed, timeout_s=setup.end_within_s), jobs))
        trial.result.faults = len(dropped)
        for one in dropped:
            if not (receipt := _read_receipt(trial, one)).get("final"):
                trial.stream.failures.append(f"{one.name}: dropped by {one.way}, and never answered")
            if task_id := str(receipt.get("task_id", "")):
                trial.stream.allow(task_id, "succeeded" if one.sha256 else "rejected")
        judge_drops(dropped, _read_ledger(trial), found := Judgement())
        trial.stream.failures += found.lost + found.twice + found.wrong
    counted = Counter(one.way for one in dropped)
    print(f"chaos: {', '.join(f'{count} by {way}' for way, count in counted.items())}", file=sys.stderr, flush=True)
    return trial.result


def judge_drops(dropped: list[Dropped], starts: list[tuple[str, str]], found: Judgement) -> None:
    """Hold what was dropped against what started, as (name, sha256)."""
    count = Counter(name for name, _ in starts)
    for one in dropped:
        wanted = 1 if one.sha256 else 0
        if count[one.name] < wanted:
            found.lost.append(f"{one.name}: dropped by {one.way}, and never started")
        if count[one.name] > 1:
            found.twice.append(f"{one.name}: dropped by {one.way}, started {count[one.name]} times")
    right = {one.name: one for one in dropped}
    for name, sha256 in starts:
        if name not in right or right[name].sha256 != sha256:
            way = right[name].way if name in right else "nobody"
            found.wrong.append(f"{name}: dropped by {way}, and started from a part")


def _drop(
    trial: Trial, elsewhere: Path, number: int, way: tuple[str, Callable[[Drop], None]], *, seed: int, timeout_s: float
) -> Dropped:
    """Drop once, and wait for its end."""
    label, put = way
    name, house = f"d{number:05d}", trial.house
    source = house.folder / "sources" / name
    source.mkdir(parents=True)
    script, config = f"{name}.py", f"{name}.json"
    says = _SAYS.format(whole=str(house.folder / "wholes"), name=name)
    text = render_script(trial.stream.ledger, says) + "# a line of padding\n" * (_PADDING // 20)
    (source / script).write_text(text, encoding="utf-8")
    fields = {**SEED, "script_path": script, "clusters": {"atena02": {"infra_config": _INFRA}}}
    (source / config).write_text(json.dumps(fields), encoding="utf-8")
    rng = random.Random(f"{seed}:{number}")  # noqa: S311 - a plan that can be replayed
    put(Drop(source, house.spool / "drop", elsewhere, script, config, rng))
    dropped = Dropped(name, label, hashlib.sha256(text.encode()).hexdigest() if label in WAYS else "")
    wait_until(lambda: _read_receipt(trial, dropped).get("final"), timeout_s=timeout_s, pause_s=0.1)
    return dropped


_INFRA = {"instance_type": "cpu", "image_name": "image"}


def _read_receipt(trial: Trial, one: Dropped) -> dict[str, object]:
    try:
        receipt: dict[str, object] = json.loads(
            (trial.house.spool / "drop" / f"{one.name}.json.receipt.json").read_bytes()
        )
    except (OSError, ValueError):
        return {}
    return receipt


def _read_ledger(trial: Trial) -> list[tuple[str, str]]:
    path = trial.house.folder / "wholes"
    lines = path.read_text(encoding="ascii").splitlines() if path.exists() else []
    return [(name, sha256) for name, _, sha256 in (line.partition(" ") for line in lines)]


@contextmanager
def _find_elsewhere() -> Iterator[Path]:
    """A folder of another file system than the temporary one's, where Linux has its usual one."""
    shared = Path("/dev/shm")  # noqa: S108 - the very tmpfs
    is_other = shared.is_dir() and shared.stat().st_dev != Path(tempfile.gettempdir()).stat().st_dev
    with tempfile.TemporaryDirectory(prefix="chaos-drops-", dir=shared if is_other else None) as name:
        yield Path(name)
