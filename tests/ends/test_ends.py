"""Every end of a job on the real Slurm, accounting on and off: the table is tests/ends/cases.py.

One test a lab, not one a case: all cases run at once, because Slurm's time limits are whole minutes.
"""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.protocol.verdict import read_slurm_end
from lab.slurm.cluster import running_lab
from lab.slurm.layout import Lab
from tests.e2e.house import PLAIN
from tests.ends.cases import ACCOUNTED_CASES, CASES, PENDING_PARTITIONS
from tests.ends.stage import EndsHouse, Stage, perform
from tests.lab.calls import call

pytestmark = [pytest.mark.slurm, pytest.mark.long, pytest.mark.timeout(420)]


@pytest.mark.parametrize("accounting", [False, True], ids=["without accounting", "with accounting"])
def test_every_end_is_the_true_one(tmp_path: Path, request: pytest.FixtureRequest, *, accounting: bool) -> None:
    asked = request.config.getoption("--ends", default="")
    cases = [case for case in CASES + ACCOUNTED_CASES * accounting if re.search(asked, case.name)]
    assert cases, f"there is no case {asked!r}"
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
    partitions["short"] = "nodes=n1 maxtime=1 state=UP"
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
        if not re.fullmatch(case.state, row["state"]):
            wrong.append(f"state {row['state']!r}, where {case.state!r} is right")
        if marks != case.marks:
            wrong.append(f"marks {marks!r}, where {case.marks!r} is right")
        if not re.search(case.reason, row["reason"]):
            wrong.append(f"reason {row['reason']!r}, where {case.reason!r} is right")
        if sum(attempt["state"] == "succeeded" for attempt in row["attempts"]) != (case.state == "succeeded"):
            wrong.append(f"attempts: {row['attempts']}")
        if row["state"] == "lost" and read_slurm_end(attempt["slurm_state"]):
            wrong.append(f"lost, though Slurm said {attempt['slurm_state']}")
        if attempt["slurm_state"] in {"PENDING", "RUNNING", "SUSPENDED"}:
            wrong.append(f"an end of which Slurm's last word is {attempt['slurm_state']}")
    shown = "\n".join(line for task in stage.tasks for line in task.shown)
    wrong += [f"never told {message!r}" for message in case.told if not re.search(message, shown)]
    if wrong:
        shown += "\n" + "\n".join(_read_traces(stage))
    return [f"{case.name}: {line}\n    {shown}" for line in wrong]


def _read_traces(stage: Stage) -> list[str]:
    """Return what Slurm's daemons wrote about the case's job, and when its control folder's files were written."""
    said = re.compile(rf"\b{stage.job_id or 'mltm'}\b")
    paths = sorted(stage.lab.log_dir.glob("slurm*.log"))
    lines = [f"{path.stem} {line}" for path in paths for line in path.read_text(errors="replace").splitlines()]
    files = [(path.stat().st_mtime, path.name) for path in stage.control.iterdir()]
    times = [f"{datetime.fromtimestamp(at_s, UTC):%H:%M:%S.%f} {name}" for at_s, name in sorted(files)]
    return [line for line in lines if said.search(line)] + times
