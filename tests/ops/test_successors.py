"""Who waits behind a job of run_api.srm, whatever happens to it: on the real Slurm, with a service that only waits."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.slurm.daemons import run_client
from lab.slurm.layout import Lab
from tests.e2e.house import wait_until
from tests.ops.service_jobs import cancelled_at_the_end, kill_job, list_jobs, submit_service

pytestmark = [pytest.mark.slurm, pytest.mark.long, pytest.mark.timeout(120)]
SERVICE = """#!/bin/bash
trap 'echo "$SLURM_JOB_ID ended" >>served; exit 0' TERM
echo "$SLURM_JOB_ID $*" >>served
while :; do read -r -t 0.1 <> <(:); done
"""
# Stands before squeue for run_api.srm alone, which is the only one of its callers that has a SLURM_JOB_NAME.
SQUEUE = """#!/bin/bash
while [ -e hold ]; do echo "$SLURM_JOB_ID" >>held; read -r -t 0.1 <> <(:); done
[ ! -e fail ] || { echo failed >>held; exit 1; }
exec {squeue} "$@"
"""


@dataclass(frozen=True)
class Place:
    lab: Lab
    folder: Path
    name: str

    def submit(self, *options: str, **variables: str) -> str:
        known = {
            "MLTM_ROLE": "gateway", "MLTM_VENV": str(self.folder), "PATH": f"{self.folder}/shims:{os.environ['PATH']}",
        }  # fmt: skip
        return submit_service(self.lab, self.name, self.folder, {**known, **variables}, *options)

    def read(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def wait_served(self, job_id: str) -> None:
        wait_until(lambda: any(line.startswith(f"{job_id} serve") for line in self.read("served")), f"{job_id} serves")

    def wait_waiting(self, jobs: int) -> list[str]:
        wait_until(lambda: len(list_jobs(self.lab, self.name, "PENDING")) == jobs, f"{jobs} jobs wait")
        return list_jobs(self.lab, self.name, "PENDING")


@pytest.fixture
def place(slurm_lab: Lab, tmp_path: Path) -> Iterator[Place]:
    for name, text in (
        ("bin/mltm-gateway", SERVICE),
        ("shims/squeue", SQUEUE.replace("{squeue}", str(shutil.which("squeue")))),
    ):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    name = f"svc-{tmp_path.name}"
    with cancelled_at_the_end(slurm_lab, name):
        yield Place(slurm_lab, tmp_path, name)


def test_a_job_killed_before_it_submits_has_a_successor(place: Place) -> None:
    first = place.submit()
    second, third = place.wait_waiting(2)
    (place.folder / "hold").touch()

    run_client(place.lab, ["scancel", first])
    wait_until(lambda: second in place.read("held"), "the second asks for its successors")
    kill_job(place.lab, second)
    wait_until(lambda: third in place.read("held"), "the third runs")
    (place.folder / "hold").unlink()

    place.wait_served(third)
    place.wait_waiting(2)


def test_a_job_that_squeue_failed_asks_again(place: Place) -> None:
    (place.folder / "fail").touch()
    first = place.submit()
    place.wait_served(first)
    wait_until(lambda: place.read("held") != [], "squeue has failed")
    (place.folder / "fail").unlink()

    place.wait_waiting(2)
    assert "no successor" in (place.folder / f"{place.name}-{first}.out").read_text()


def test_successors_are_asked_for_like_the_job_itself(place: Place) -> None:
    place.submit("--partition=gpu", "--time=7", "--mem=300")
    place.wait_waiting(2)

    shown = list_jobs(place.lab, place.name, shown="%P/%l/%m")

    assert shown == ["gpu/7:00/300M"] * 3


def test_a_job_that_is_asked_to_stop_ends_its_service_and_ends_well(place: Place) -> None:
    first = place.submit(MLTM_SUCCESSOR="no")
    place.wait_served(first)

    run_client(place.lab, ["scancel", "--signal=USR1", "--batch", first])
    wait_until(lambda: list_jobs(place.lab, place.name) == [], "the job has ended")

    assert f"{first} ended" in place.read("served")
    assert "ExitCode=0:0" in run_client(place.lab, ["scontrol", "show", "job", first]).stdout


def test_a_service_that_fails_costs_no_more_jobs_than_one_that_works(place: Place) -> None:
    (place.folder / "bin" / "mltm-gateway").write_text('#!/bin/bash\necho "$SLURM_JOB_ID failed" >>served\nexit 2\n')
    first = place.submit()
    place.wait_waiting(2)
    wait_until(lambda: len(place.read("served")) >= 2, "a second try")

    assert set(place.read("served")) == {f"{first} failed"}
    assert list_jobs(place.lab, place.name, "RUNNING") == [first]
