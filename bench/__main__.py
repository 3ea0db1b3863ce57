"""`make bench`: POST to sbatch, and job end to visible state, with raw sbatch beside it in the same run.

Everything runs on this machine: gateway and agent as processes with the settings of a fresh install, Slurm in a lab.
Compare within a run, not between.
"""

import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from lab.slurm.cluster import running_lab
from lab.slurm.layout import Lab
from mltm.runtime.mounts import is_seen_whole, read_file_system
from tests.e2e.house import House, open_house

TASKS = 500


def measure_raw(lab: Lab) -> float:
    """Seconds of one raw sbatch."""
    began_s = time.monotonic()
    argv = ["sbatch", "--parsable", "--output=/dev/null", "--wrap=true"]
    subprocess.run(argv, env={**lab.env, "PATH": "/usr/bin:/bin"}, check=True, capture_output=True)
    return time.monotonic() - began_s


def measure_task(house: House) -> tuple[float, float]:
    """Seconds from the POST to Slurm's answer, and from the exit record to the state that a user sees."""
    began_s = time.time()
    task_id = house.submit("pass\n")
    control = house.spool / "tasks" / task_id / "control"
    while not house.read(task_id)["final"]:
        time.sleep(0.01)
    seen_s = time.time()
    submitted_s = (control / "submitted.01").stat().st_mtime
    ended_s = (control / "exit.01").stat().st_mtime
    return submitted_s - began_s, seen_s - ended_s


def show(name: str, seconds: list[float]) -> dict[str, float]:
    """Print a line of the table; return its figures in milliseconds."""
    ordered = sorted(seconds)
    p50, p99 = statistics.median(ordered), ordered[math.ceil(0.99 * len(ordered)) - 1]
    print(f"| {name} | {p50 * 1000:.0f} ms | {p99 * 1000:.0f} ms |", flush=True)
    return {"p50_ms": p50 * 1000, "p99_ms": p99 * 1000}


def render_machine(lab: Lab, folder: Path) -> str:
    """Say what was measured where, for the docs."""
    kind = read_file_system(folder)
    observer = "inotify" if is_seen_whole(kind) else "polling"
    version = subprocess.run(
        ["sbatch", "--version"], env={**os.environ, **lab.env}, capture_output=True, text=True, check=True
    )
    return (
        f"`make bench`, {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores, Linux {platform.release()}, Python "
        f"{platform.python_version()}, {version.stdout.strip()}, spool on {kind} ({observer}), load "
        f"{os.getloadavg()[0]:.1f}; {TASKS} tasks one after another, a raw sbatch after each."
    )


def main() -> int:
    """Run it and print the table."""
    with running_lab(min_job_age_s=60) as lab, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        with open_house(Path(folder), lab.env, in_a_hurry=False) as house:
            measure_task(house)
            pairs, raw = [], []
            for _ in range(TASKS):
                pairs.append(measure_task(house))
                raw.append(measure_raw(lab))
        print(f"{render_machine(lab, Path(folder))}\n\n| what | p50 | p99 |\n|---|---|---|")
        figures = {
            "raw_sbatch": show("raw `sbatch`", raw),
            "post_to_sbatch": show("POST to sbatch's answer on disk", [post for post, _ in pairs]),
            "end_to_visible": show("exit record to final state at the gateway", [end for _, end in pairs]),
        }
    print(json.dumps(figures), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
