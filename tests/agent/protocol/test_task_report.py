"""What is told of a task that waits."""

import pytest

from agent.protocol.journal import AttemptJournal
from agent.protocol.task_report import describe_task
from agent.slurm.values import JobLine
from mltm.contract.ids import JobId
from mltm.contract.journal_records import Submitted
from mltm.contract.limits import MAX_MESSAGE_BYTES
from mltm.contract.reports import StatusNote
from mltm.contract.states import State
from tests.agent.protocol import build

ACCEPTED = Submitted.model_validate({"outcome": "accepted", "job_id": "7", "at": build.NOW})


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("Priority", "waiting_for_slurm"),
        ("QOSMaxJobsPerUserLimit", "waiting_for_limit"),
        ("JobHeldAdmin", "attention"),
        ("launch failed requeued held", "attention"),
    ],
)
def test_a_person_is_called_only_where_waiting_does_not_help(reason: str, kind: str) -> None:
    line = JobLine(JobId("7"), "PENDING", "name", reason=reason)
    draft = describe_task(build.task_journal(AttemptJournal(1, build.submit(1))), build.observation(), (line,))

    assert (draft.note or StatusNote()).kind == kind
    assert reason in (draft.note or StatusNote()).message or reason == "Priority"


def words_of(*attempts: AttemptJournal) -> str:
    note = describe_task(build.task_journal(*attempts, held=True), build.observation(), ()).note
    assert note is not None
    assert note.kind == "held"
    return note.message


def test_a_hold_says_what_it_can_still_keep_back() -> None:
    at_slurm = AttemptJournal(1, build.submit(1), submitted=ACCEPTED)

    assert words_of() == "Held; release it to let it start."
    assert words_of(AttemptJournal(1, build.submit(1), submitted=ACCEPTED, claim=build.fence())) == words_of()
    assert words_of(at_slurm).startswith("Held after Slurm had taken this attempt")


@pytest.mark.parametrize("message", ["x" * 100_000, "a\x1b[31m\x00", "\udcff"])
def test_words_that_a_report_cannot_carry_are_cut_and_cleaned(message: str) -> None:
    refused = Submitted.model_validate({"outcome": "transient", "message": "", "at": build.NOW})
    log = build.task_journal(
        AttemptJournal(1, build.submit(1), submitted=refused.model_copy(update={"message": message}))
    )

    draft = describe_task(log, build.observation(), ())

    assert draft.note is not None
    assert len(draft.note.message.encode()) <= MAX_MESSAGE_BYTES
    assert draft.note.message.encode().decode().isprintable()


def test_a_detail_that_a_report_cannot_carry_is_left_out_and_nothing_else() -> None:
    claim = build.claim().model_copy(update={"job_id": "9" * 5000, "node": "n\n1"})

    draft = describe_task(build.task_journal(AttemptJournal(1, build.submit(1), claim=claim)), build.observation(), ())

    assert (draft.state, draft.job_id, draft.node) == (State.RUNNING, None, "n\ufffd1")
    assert "job_id" in draft.message
