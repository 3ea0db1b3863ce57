"""What is told of a task that waits."""

import pytest

from agent.slurm.values import JobLine
from agent.standing import describe_task
from agent.tasklog import AttemptLog
from mltm.contract.ids import JobId
from mltm.contract.reports import Note
from tests.agent.core import build


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("Priority", ""),
        ("QOSMaxJobsPerUserLimit", "waiting_for_slurm"),
        ("JobHeldAdmin", "attention"),
        ("launch failed requeued held", "attention"),
    ],
)
def test_a_person_is_called_only_where_waiting_does_not_help(reason: str, kind: str) -> None:
    line = JobLine(JobId("7"), "PENDING", "name", reason=reason)
    draft = describe_task(build.task_log(AttemptLog(1, build.submit(1))), build.observation(), (line,))

    assert (draft.note or Note()).kind == kind
    assert reason in (draft.note or Note()).words or not kind
