"""Files that nobody wrote whole, and that do not belong there: torn records, notes, bells, reports, folders, links.

A record is written under a private name and linked, so that none of ours is ever torn; but a copied spool or a hand may
leave one. A torn intent, claim, exit in the place of one that is to come is not planted: nobody can know what it said.
With the first two the task waits for a person, and the agent says so; with the third the wrapper tries for ten minutes,
and the task is honestly lost.
"""

import contextlib
import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from chaos.trial import Result, Setup, Trial, open_trial
from mltm.contract.ids import TaskId
from mltm.contract.spool_layout import Spool

__all__ = ["run"]

_POLL_S = 0.3
_HALF = b'{"kind":"submit","nonce":"01'
_STRANGER = TaskId("01" + "0" * 10 + "7" + "0" * 3 + "8" + "f" * 15)
_Plant = Callable[[Spool, TaskId, random.Random], Path]


def run(setup: Setup, faults: int | None) -> Result:
    """Plant so many (60 by default): each into the folder of a task under way, or beside it."""
    rng = random.Random(setup.seed)  # noqa: S311 - a plan that can be replayed
    with open_trial(replace(setup, kinds=setup.kinds)) as trial:
        spool = Spool(trial.house.spool)
        while trial.result.faults < (faults or 60):
            time.sleep(rng.uniform(0, _POLL_S))
            if active := _list_active(trial):
                trial.result.faults += _plant(rng.choice(_PLANTS), spool, rng.choice(active), rng)
            if trial.result.faults % 10 == 9:
                trial.house.kill("agent")
                trial.result.kills += 1
                trial.house.start("agent")
    return trial.result


def _list_active(trial: Trial) -> list[TaskId]:
    return [TaskId(name) for name in sorted(os.listdir(trial.house.spool / "active")) if name in trial.stream.expected]  # noqa: PTH208 - names only


def _plant(where: _Plant, spool: Spool, task_id: TaskId, rng: random.Random) -> int:
    """Put a torn file, an empty one, a folder or a link in a file's place; what is there already stays."""
    path = where(spool, task_id, rng)
    with contextlib.suppress(FileExistsError, FileNotFoundError):
        if (dice := rng.random()) < 0.2:
            path.mkdir()
        elif dice < 0.3:
            path.symlink_to("nowhere")
        else:
            with path.open("xb") as file:
                file.write(rng.choice((_HALF, b"", bytes(64))))
        return 1
    return 0


def _hex(rng: random.Random) -> str:
    return f"{rng.getrandbits(128):032x}"


_PLANTS: tuple[_Plant, ...] = (
    lambda spool, task_id, rng: spool.task(task_id).control / f".claim.01.{_hex(rng)}",
    lambda spool, task_id, rng: spool.task(task_id).attempt(1).refused(_hex(rng)),
    lambda spool, task_id, rng: spool.task(task_id).attempt(1).dup(_hex(rng)),
    lambda spool, task_id, _: spool.task(task_id).attempt(1).submitted,
    lambda spool, task_id, _: spool.task(task_id).attempt(9).exit,
    lambda spool, task_id, _: spool.task(task_id).amended,
    lambda spool, task_id, _: spool.bell / task_id,
    lambda spool, _, rng: spool.bell / f"bell-{_hex(rng)}",
    lambda spool, *_: spool.bell / _STRANGER,
    lambda spool, *_: spool.active / _STRANGER,
    lambda spool, _, rng: spool.active / f"active-{_hex(rng)[:6]}",
    lambda spool, _, rng: spool.tasks / f"tasks-{_hex(rng)[:6]}",
    lambda spool, _, rng: spool.inbox.new / f"new-{_hex(rng)[:6]}",
    lambda spool, _, rng: spool.taking / f"taking-{_hex(rng)[:6]}",
    lambda spool, _, rng: spool.leftovers / f"leftover-{_hex(rng)[:6]}",
    lambda spool, _, rng: spool.root / "outbox" / f"{_hex(rng)[:6]}.json",
    lambda spool, _, rng: spool.root / "outbox" / f"{rng.randrange(1, 9):010d}-{rng.randrange(500, 900):012d}.json",
    lambda spool, task_id, _: next(spool.observations.iterdir()) / task_id,
)
