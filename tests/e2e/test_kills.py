"""200 tasks by 8 clients at once while gateway and agent are killed with -9: each runs once and ends right."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.house import open_house, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.long, pytest.mark.timeout(420)]
TASKS, CLIENTS, KILLS = 200, 8, 3
SCRIPT = """
import os, sys
mark = os.open({ledger!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
os.write(mark, (os.environ["MLTM_TASK_ID"] + "\\n").encode())
sys.exit({code})
"""


def test_every_task_runs_once_and_ends_right_while_everything_is_killed(slurm_lab: object, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    with open_house(tmp_path, slurm_lab.env) as house:  # type: ignore[attr-defined] # the lab's fixture

        def submit(number: int) -> tuple[str, int]:
            code = number % 3
            return house.submit(SCRIPT.format(ledger=str(ledger), code=code), key=f"task-{number}"), code

        def kill_now_and_then() -> None:
            for kill in range(2 * KILLS):
                part = ("agent", "gateway")[kill % 2]
                # Each kill waits for progress, so that it falls while tasks are under way.
                wait_until(partial(_has, ledger, 5 + 20 * kill), "progress", 300)
                house.kill(part)
                house.start(part)

        killer = threading.Thread(target=kill_now_and_then)
        killer.start()
        with ThreadPoolExecutor(CLIENTS) as clients:
            expected = dict(clients.map(submit, range(TASKS)))
        killer.join()
        wait_until(house._answers, "the gateway is back")
        ends = {task: ("succeeded" if code == 0 else "failed") for task, code in expected.items()}
        wait_until(lambda: house.list_states() == ends, "all tasks end right", 240)

    marks = Counter(ledger.read_text().split())
    assert len(expected) == TASKS
    assert set(marks) == set(expected)
    assert set(marks.values()) == {1}


def _has(ledger: Path, marks: int) -> bool:
    return ledger.exists() and ledger.read_text().count("\n") >= marks
