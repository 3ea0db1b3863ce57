"""How the lab's tests call Slurm's commands, on the real one and on the stand-in alike."""

import os
import subprocess

from lab.processes import wait_until
from lab.slurm.layout import Lab
from lab.standin.control import Standin

Slurm = Lab | Standin


def call(slurm: Slurm, *argv: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | slurm.env | {"LC_ALL": "C"}
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=30, cwd="/")


def submit(slurm: Slurm, script: str, *options: str) -> str:
    done = call(slurm, "sbatch", "--parsable", "--output=/dev/null", *options, "--wrap", script)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def read_state(slurm: Slurm, job_id: str) -> str:
    return call(slurm, "squeue", "-h", "-t", "all", "-j", job_id, "-o", "%T").stdout.strip()


def wait_state(slurm: Slurm, job_id: str, *states: str) -> None:
    came = wait_until(lambda: read_state(slurm, job_id) in states, timeout_s=25, pause_s=0.05)
    assert came, f"job {job_id} is {read_state(slurm, job_id)}, not one of {states}"
