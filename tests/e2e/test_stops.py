"""A task that does not heed TERM still ends with its exit record, though the agent's config is longer than KillWait."""

import json
from pathlib import Path

import pytest

from lab.slurm.cluster import running_lab
from lab.standin.control import Standin, set_faults
from tests.e2e.house import open_house, wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""


@pytest.mark.slurm
def test_a_cancelled_task_that_ignores_term_leaves_its_exit_record(tmp_path: Path) -> None:
    """This lab's KillWait is 12 s; kill_wait_s is left at 30 s."""
    (tmp_path / "house").mkdir()
    with running_lab(min_job_age_s=10, kill_wait_s=12) as lab, open_house(tmp_path / "house", lab.env) as house:
        task = house.submit(STUBBORN)
        wait_until(lambda: "deaf" in house.ask("GET", f"/v1/tasks/{task}/log?length=100").text, "it runs")
        house.ask("POST", f"/v1/tasks/{task}/cancel")

        assert house.wait_final(task, 90)["state"] == "cancelled"

    record = json.loads((house.spool / "tasks" / task / "control" / "exit.01").read_text())
    assert (record["code"], [each["name"] for each in record["stop_signals"]]) == (137, ["TERM"])
    assert (house.folder / "agent.log").read_text().count("kill_wait_shortened") == 1


def test_a_cancel_reaches_running_code_though_scancel_fails(tmp_path: Path, standin: Standin) -> None:
    with open_house(tmp_path, standin.env) as house:
        task = house.submit("import time\nprint('up', flush=True)\ntime.sleep(600)\n")
        wait_until(lambda: "up" in house.ask("GET", f"/v1/tasks/{task}/log?length=100").text, "it runs")
        set_faults(standin, {"command": "scancel", "mode": "fail"})
        house.ask("POST", f"/v1/tasks/{task}/cancel")

        assert house.wait_final(task, 60)["state"] == "cancelled"
