"""run_api.srm on the real Slurm: it serves, its agent runs jobs from inside a job, and it hands over."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import requests

from lab.daemons import run_client
from lab.layout import Lab
from tests.e2e.house import BIN, House, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.long, pytest.mark.timeout(240)]
SCRIPT = Path(__file__).resolve().parents[2] / "run_api.srm"


class Service(House):
    """The same house, but gateway and agent live in a Slurm job."""

    def start(self, part: str) -> None:
        if part == "gateway":
            super().start(part)  # for the enrolment; ended before the job starts


def submit_service(house: House, lab: Lab, name: str) -> str:
    env = {
        **os.environ, **lab.env, "MLTM_HOME": str(house.folder), "MLTM_VENV": str(BIN.parent), "MLTM_HOST": "127.0.0.1",
        "MLTM_PORT": house.url.rpartition(":")[2],
    }  # fmt: skip
    output = f"--output={house.folder}/service-%j.out"
    argv = ["sbatch", "--parsable", f"--job-name={name}", "--mem=200", output, str(SCRIPT)]
    done = subprocess.run(argv, env=env, cwd=house.folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def list_jobs(lab: Lab, name: str, *states: str) -> list[str]:
    chosen = [f"--states={','.join(states)}"] if states else []
    return run_client(lab, ["squeue", "-h", f"--name={name}", "-o", "%i", *chosen]).stdout.split()


def test_the_service_runs_as_a_job_and_hands_over(slurm_lab: Lab, tmp_path: Path) -> None:
    name = f"svc-{os.getpid()}"
    house = Service(tmp_path, slurm_lab.env)
    house.stop()
    try:
        first = submit_service(house, slurm_lab, name)
        wait_until(house._answers, "the gateway serves from inside the job")
        printed = (tmp_path / f"service-{first}.out").read_text()
        address = re.search(r"http://127\.0\.0\.1:\d+/docs", printed)
        assert address is not None
        assert requests.get(address[0], timeout=10).status_code == 200

        task = house.submit("print('from a job')\n")
        assert house.wait_final(task)["state"] == "succeeded"

        for ended in (first, *list_jobs(slurm_lab, name, "PENDING")[:1]):
            running = house.submit("import time\ntime.sleep(4)\n")
            house.wait_state(running, "running")
            # What Slurm does at the walltime, and then what an administrator's kill does.
            run_client(slurm_lab, ["scancel", ended])
            wait_until(lambda ended=ended: ended not in list_jobs(slurm_lab, name), "the old one ends")  # type: ignore[misc] # bound now
            wait_until(house._answers, "the successor serves")
            assert house.wait_final(running)["state"] == "succeeded"
            assert len(list_jobs(slurm_lab, name)) == 2
    finally:
        run_client(slurm_lab, ["scancel", f"--name={name}"])
        wait_until(lambda: list_jobs(slurm_lab, name) == [], "the service has ended")
