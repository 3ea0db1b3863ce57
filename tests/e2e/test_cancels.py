"""A task that shows `cancelled` has no job in Slurm any more: by processes, on a real Slurm, with a site's buckets."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.slurm.controls import set_partition, start_slurmctld, stop_slurmctld
from lab.slurm.layout import Lab
from tests.agent.slurm.counting import build_counters, read_counts
from tests.e2e.house import House, open_house, wait_until
from tests.lab.calls import call

pytestmark = [pytest.mark.slurm, pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture
def house(slurm_lab: Lab, tmp_path: Path) -> Iterator[House]:
    """No node takes a job. Polls and buckets are those of a site, so that most jobs are not listed by a poll."""
    set_partition(slurm_lab, "cpu", "down")
    env = slurm_lab.env | {"PATH": f"{build_counters(tmp_path)}:{os.environ['PATH']}"}
    try:
        with open_house(tmp_path, env) as opened:
            settings = opened.folder / "agent.toml"
            text = settings.read_text().replace("poll_interval_s = 2\n", "poll_interval_s = 30\n")
            settings.write_text("".join(line for line in text.splitlines(True) if "query_bucket" not in line))
            opened.kill("agent")
            opened.start("agent")
            yield opened
    finally:
        set_partition(slurm_lab, "cpu", "up")
        call(slurm_lab, "scancel", "--me", "--state=PENDING")


def submit(house: House, count: int) -> list[str]:
    tasks = [house.submit("print('never')", key=f"{house.folder.name}-{count}-{number}") for number in range(count)]
    for task_id in tasks:
        house.wait_state(task_id, "pending", 120)
    return tasks


def cancel(house: House, task_id: str) -> None:
    assert house.ask("POST", f"/v1/tasks/{task_id}/cancel").status_code in {200, 202}
    assert house.wait_final(task_id)["state"] == "cancelled"


def list_names(house: House, lab: Lab) -> set[str]:
    """The names of this house's jobs in Slurm: other tests share the lab."""
    listed = call(lab, "squeue", "--me", "--noheader", "--format=%j")
    assert listed.returncode == 0, listed.stderr
    ours = set(house.list_rows())
    return {name for name in listed.stdout.split() if name.startswith("mltm-") and name.split("-")[1] in ours}


def tell(house: House, lab: Lab) -> str:
    log = (house.folder / "agent.log").read_text().splitlines()
    return "\n".join([call(lab, "squeue", "--me", "--long").stdout, *log[-30:]])


def wait_empty(house: House, lab: Lab, deadline_s: float) -> None:
    wait_until(lambda: not list_names(house, lab), "no job left", deadline_s, lambda: tell(house, lab))
    wait_until(lambda: not list((house.spool / "agent" / "leftovers").iterdir()), "the list is empty")


def test_jobs_that_no_poll_listed_are_cancelled(house: House, slurm_lab: Lab, tmp_path: Path) -> None:
    submit(house, 1)
    wait_until(lambda: read_counts(tmp_path)["squeue"] > 0, "the first poll")
    late = submit(house, 3)
    for task_id in late:
        cancel(house, task_id)

    names = {f"mltm-{task_id}-a01" for task_id in late}
    wait_until(lambda: not names & list_names(house, slurm_lab), "they are gone")


def test_thirty_cancels_one_after_another_leave_no_job(house: House, slurm_lab: Lab, tmp_path: Path) -> None:
    tasks = submit(house, 30)
    before = read_counts(tmp_path)
    for task_id in tasks:
        cancel(house, task_id)

    wait_empty(house, slurm_lab, 30)
    spent = read_counts(tmp_path) - before
    assert spent["scancel"] + spent["squeue"] <= 30


def test_a_cancel_outlives_slurmctld_and_the_agent(house: House, slurm_lab: Lab, tmp_path: Path) -> None:
    tasks = submit(house, 5)
    stop_slurmctld(slurm_lab)
    try:
        for task_id in tasks:
            cancel(house, task_id)
        house.kill("agent")
    finally:
        start_slurmctld(slurm_lab, with_partitions=True)
    house.start("agent")

    wait_empty(house, slurm_lab, 150)
    assert not [job for task_id in tasks for job in house.spool.glob(f"tasks/{task_id}/control/slurm.01.out")]


def test_a_cancel_from_while_the_agent_was_away_comes_before_the_first_sbatch(house: House, tmp_path: Path) -> None:
    house.kill("agent")
    before = read_counts(tmp_path)["sbatch"]
    tasks = [house.submit("print('never')", key=f"{house.folder.name}-away-{number}") for number in range(8)]
    for task_id in tasks:
        assert house.ask("POST", f"/v1/tasks/{task_id}/cancel").status_code in {200, 202}
    house.start("agent")

    assert [house.wait_final(task_id)["state"] for task_id in tasks] == ["cancelled"] * 8
    assert read_counts(tmp_path)["sbatch"] == before
