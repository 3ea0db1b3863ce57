"""Every end of a job on the real Slurm, accounting on and off: the table is tests/ends/cases.py.

One test a lab, not one a case: all cases run at once, because Slurm's time limits are whole minutes.
"""

import re
from pathlib import Path

import pytest

from lab.cluster import running_lab
from lab.layout import Lab
from tests.e2e.house import PLAIN
from tests.ends.cases import ACCOUNTED_CASES, CASES, PENDING_PARTITIONS
from tests.ends.stage import EndsHouse, Stage, perform
from tests.lab.calls import call

pytestmark = [pytest.mark.slurm, pytest.mark.long, pytest.mark.timeout(420)]


@pytest.mark.parametrize("accounting", [False, True], ids=["without accounting", "with accounting"])
def test_every_end_is_the_true_one(tmp_path: Path, *, accounting: bool) -> None:
    cases = CASES + ACCOUNTED_CASES if accounting else CASES
    for name in ("house", "marks"):
        (tmp_path / name).mkdir()
    with running_lab(accounting=accounting, min_job_age_s=10, kill_wait_s=12, over_memory_kill=True) as lab:
        _set_up(lab, accounting=accounting)
        house = EndsHouse(tmp_path / "house", lab.env, PLAIN)
        try:
            stages: dict[str, Stage] = {}
            stages |= {case.name: Stage(house, lab, case, tmp_path / "marks", stages) for case in cases}
            perform(list(stages.values()), house, deadline_s=300)
        finally:
            house.stop()

    wrong = [line for stage in stages.values() for line in _find_wrong(stage)]
    assert not wrong, "\n".join(wrong)


def _set_up(lab: Lab, *, accounting: bool) -> None:
    """Make a partition for each kind of trouble, on the node that has it, and the limits."""
    up = {"calm": "n1", "cut": "n2", "dead": "n3"}
    partitions = {name: f"nodes={node} state=UP" for name, node in up.items()}
    partitions |= {name: f"nodes=n1 state={state}" for name, state in PENDING_PARTITIONS.items()}
    shared = "oversubscribe=force:16"  # all run at once, on four cores a node
    commands = [f"scontrol create partitionname={name} {shared} {options}" for name, options in partitions.items()]
    if accounting:
        user = call(lab, "id", "-un").stdout.strip()
        commands += [
            "sacctmgr -i add qos tight,single",
            "sacctmgr -i modify qos tight set MaxSubmitJobsPerUser=1",
            "sacctmgr -i modify qos single set MaxJobsPerUser=1",
            "sacctmgr -i add account small",
            f"sacctmgr -i add user {user} account=small MaxSubmitJobs=1",
            f"sacctmgr -i modify user {user} set qos+=tight,single",
        ]
    for command in commands:
        done = call(lab, *command.split())
        assert done.returncode == 0, f"{command}: {done.stderr or done.stdout}"


def _find_wrong(stage: Stage) -> list[str]:
    """Hold a case against what its code did and what its user was shown."""
    case, wrong = stage.case, list(stage.wrong)
    if not stage.is_over():
        wrong.append("it did not come to its end in time")
    for task in stage.tasks:
        shown, marks, row = "\n".join(task.shown), stage.read_marks(task), task.row
        attempt = row["attempts"][-1]
        wrong += _compare("state", row["state"], case.state) + _compare("marks", marks, case.marks)
        if not re.search(case.reason, row["reason"]):
            wrong.append(f"reason {row['reason']!r}, where {case.reason!r} is right")
        if sum(attempt["state"] == "succeeded" for attempt in row["attempts"]) != (case.state == "succeeded"):
            wrong.append(f"attempts: {row['attempts']}")
        if attempt["slurm_state"] in {"PENDING", "RUNNING", "SUSPENDED"}:
            wrong.append(f"an end of which Slurm's last word is {attempt['slurm_state']}")
    shown = "\n".join(line for task in stage.tasks for line in task.shown)
    wrong += [f"never told {words!r}" for words in case.told if not re.search(words, shown)]
    return [f"{case.name}: {line}\n    {shown}" for line in wrong]


def _compare(what: str, found: str, right: str) -> list[str]:
    return [] if found == right else [f"{what} {found!r}, where {right!r} is right"]
