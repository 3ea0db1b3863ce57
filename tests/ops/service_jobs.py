"""run_api.srm as jobs of the lab's Slurm: submitted, listed, and killed with everything that runs in one."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from lab.slurm.daemons import find_processes_of, run_client
from lab.slurm.layout import Lab
from tests.e2e.house import wait_until

SCRIPT = Path(__file__).resolve().parents[2] / "run_api.srm"


def submit_service(lab: Lab, name: str, folder: Path, variables: Mapping[str, str], *options: str) -> str:
    argv = ["sbatch", "--parsable", f"--job-name={name}", "--mem=200", f"--output={folder}/%x-%j.out", *options]
    env = {**os.environ, **lab.env, "MLTM_HOME": str(folder), "MLTM_HOST": "127.0.0.1", **variables}
    done = subprocess.run([*argv, str(SCRIPT)], env=env, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def list_jobs(lab: Lab, name: str, *states: str, shown: str = "%A") -> list[str]:
    chosen = [f"--states={','.join(states)}"] if states else []
    return run_client(lab, ["squeue", "-h", "--sort=i", f"--name={name}", "-o", shown, *chosen]).stdout.split()


def kill_job(lab: Lab, job_id: str) -> None:
    """KILL everything that runs in a job, at once, as nothing in Slurm does."""
    found = find_processes_of(lab, job_id)
    assert found, f"nothing runs in job {job_id}"
    for process in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def cancelled_at_the_end(lab: Lab, name: str) -> Iterator[None]:
    try:
        yield
    finally:
        run_client(lab, ["scancel", f"--name={name}"])
        wait_until(lambda: list_jobs(lab, name) == [], "the service has ended")
