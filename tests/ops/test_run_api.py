"""run_api.srm on the real Slurm: it serves, its agent runs jobs from inside a job, and it hands over."""

import itertools
import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from lab.slurm.daemons import run_client
from lab.slurm.layout import Lab
from tests.e2e.house import BIN, House, wait_until
from tests.ops.service_jobs import cancelled_at_the_end, kill_job, list_jobs, submit_service

pytestmark = [pytest.mark.slurm, pytest.mark.long, pytest.mark.timeout(300)]
TASK = """
import os, time
mark = os.open({ledger!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
os.write(mark, (os.environ["MLTM_TASK_ID"] + "\\n").encode())
time.sleep(2)
"""


class Service(House):
    """The same house, but gateway and agent live in a Slurm job."""

    def start(self, part: str) -> None:
        if part == "gateway":
            super().start(part)  # for the enrolment; ended before the job starts


@contextmanager
def stream_of_tasks(house: House, ledger: Path) -> Iterator[list[str]]:
    """One task after another is submitted, whatever becomes of the service; each repeats until it was answered."""
    tasks: list[str] = []
    stopping = threading.Event()

    def submit() -> None:
        for number in itertools.count():
            tasks.append(house.submit(TASK.format(ledger=str(ledger)), key=f"stream-{number}"))
            if stopping.wait(0.5):
                return

    stream = threading.Thread(target=submit, daemon=True)
    stream.start()
    try:
        yield tasks
    finally:
        stopping.set()
        stream.join(90)
    assert not stream.is_alive()


def test_every_task_of_a_stream_ends_right_over_three_changes(slurm_lab: Lab, tmp_path: Path) -> None:
    name, ledger = f"svc-{os.getpid()}", tmp_path / "ledger"
    house = Service(tmp_path, slurm_lab.env)
    house.stop()
    variables = {"MLTM_VENV": str(BIN.parent), "MLTM_PORT": house.url.rpartition(":")[2], "MLTM_TIME": "10"}

    def wait_change(old: str) -> str:
        wait_until(lambda: list_jobs(slurm_lab, name, "RUNNING") not in ([old], []), f"{old} has a successor", 90)
        wait_until(house._answers, "the successor serves")
        (job_id,) = list_jobs(slurm_lab, name, "RUNNING")
        before = len(tasks)
        wait_until(lambda: len(tasks) >= before + 3, "the successor takes tasks")
        return job_id

    with cancelled_at_the_end(slurm_lab, name):
        # Slurm's least limit is a minute; it warns at some time in the last half of it.
        first = submit_service(slurm_lab, name, tmp_path, variables, "--time=1", "--signal=B:USR1@5")
        wait_until(house._answers, "the gateway serves from inside the job")
        address = re.search(r"http://127\.0\.0\.1:\d+/docs", (tmp_path / f"{name}-{first}.out").read_text())
        assert address is not None
        assert requests.get(address[0], timeout=10).status_code == 200

        with stream_of_tasks(house, ledger) as tasks:
            second = wait_change(first)
            assert "the time limit is near" in (tmp_path / f"{name}-{first}.out").read_text()
            kill_job(slurm_lab, second)
            third = wait_change(second)
            run_client(slurm_lab, ["scancel", third])
            wait_change(third)
        wait_until(lambda: set(house.list_states().values()) == {"succeeded"}, "all tasks succeed", 90)

    marks = Counter(ledger.read_text().split())
    assert set(marks) == set(tasks) == set(house_tasks(tmp_path))
    assert set(marks.values()) == {1}


def test_gateway_and_agent_run_as_jobs_of_their_own(slurm_lab: Lab, tmp_path: Path) -> None:
    names = {role: f"{role}-{os.getpid()}" for role in ("gateway", "agent")}
    house = Service(tmp_path, slurm_lab.env)
    house.stop()
    known = {"MLTM_VENV": str(BIN.parent), "MLTM_PORT": house.url.rpartition(":")[2], "MLTM_SUCCESSOR": "no"}

    def printed(role: str) -> str:
        return (tmp_path / f"{names[role]}-{jobs[role]}.out").read_text()

    with ExitStack() as stack:
        jobs = {}
        for role, name in names.items():
            stack.enter_context(cancelled_at_the_end(slurm_lab, name))
            jobs[role] = submit_service(slurm_lab, name, tmp_path, {**known, "MLTM_ROLE": role})
        wait_until(house._answers, "the gateway serves")

        assert house.wait_final(house.submit("print('from a job of its own')\n"))["state"] == "succeeded"

        assert "/docs" in printed("gateway")
        assert "agent: started" not in printed("gateway")
        assert "agent: started" in printed("agent")
        assert "/docs" not in printed("agent")
        run_client(slurm_lab, ["scancel", "--signal=USR1", "--batch", jobs["agent"]])
        wait_until(lambda: list_jobs(slurm_lab, names["agent"]) == [], "the agent's job ends")
        assert house._answers(), "the gateway's job goes on without it"


def house_tasks(folder: Path) -> list[str]:
    """The tasks that the spool knows of as ended."""
    return [path.name for path in (folder / "spool" / "done").iterdir() if not path.name.startswith(".")]
