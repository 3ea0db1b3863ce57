import subprocess
from pathlib import Path

import pytest

from lab import processes
from lab.slurm import cluster
from lab.slurm.layout import Lab

pytestmark = pytest.mark.slurm


def test_all_three_nodes_are_there(slurm_lab: Lab) -> None:
    assert set(cluster.read_node_states(slurm_lab)) == {"n1", "n2", "n3"}


def test_an_upped_lab_is_taken_as_it_is(slurm_lab: Lab) -> None:
    before = processes.read_pids(slurm_lab.dir)

    assert cluster.up(slurm_lab.options) == slurm_lab
    assert processes.read_pids(slurm_lab.dir) == before


def test_down_leaves_no_process_not_even_a_jobs_grandchild(tmp_path: Path) -> None:
    with cluster.running_lab(dir=tmp_path / "lab") as lab:
        marks = tmp_path / "pids"
        script = f"echo $$ >{marks}; trap '' TERM; env -i setsid sleep 1000 & echo $! >>{marks}; wait"
        subprocess.run(
            ["sbatch", "-o", "/dev/null", "--wrap", script],
            env={"SLURM_CONF": str(lab.slurm_conf), "PATH": lab.env["PATH"]},
            check=True,
            capture_output=True,
        )
        assert processes.wait_until(lambda: marks.exists() and marks.read_text().count("\n") == 2, timeout_s=10)
        daemons = processes.read_pids(lab.dir)
        job = [processes.read_process(int(pid)) for pid in marks.read_text().split()]

    assert len(daemons) == 5
    assert None not in job
    assert not [process for process in (*daemons.values(), *job) if process and processes.is_running(process)]
