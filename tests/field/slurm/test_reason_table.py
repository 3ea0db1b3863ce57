"""The tables of states and reasons are complete for the Slurm that is installed here, and say what a user needs.

`make test-slurm-versions` runs this on 24.11 and 26.05, too.
"""

import pytest

from agent.protocol.journal import AttemptJournal
from agent.protocol.task_report import describe_task
from agent.slurm.reasons import REASONS, find_reason, is_launch_failure
from agent.slurm.states import STATES, classify_state
from agent.slurm.values import JobLine
from mltm.contract.ids import JobId
from mltm.contract.reports import StatusNote
from tests.agent.protocol.build import claim, observation, submit, task_journal
from tests.field.slurm.library import read_library


def note_of(state: str, reason: str, *, is_claimed: bool = False) -> StatusNote:
    attempt = AttemptJournal(1, submit(1), claim=claim("7") if is_claimed else None)
    line = JobLine(JobId("7"), state, "name", reason=reason)
    return describe_task(task_journal(attempt), observation(), (line,)).note or StatusNote()


@pytest.mark.slurm
def test_every_reason_of_the_installed_library_is_in_the_table() -> None:
    assert len(read_library().reasons) > 190
    assert read_library().reasons - set(REASONS) == set()


@pytest.mark.slurm
def test_every_state_of_the_installed_library_is_in_the_table() -> None:
    assert len(read_library().states) >= 25
    assert read_library().states - STATES == set()


@pytest.mark.slurm
@pytest.mark.parametrize("name", ["Priority", "AssocGrpCpuLimit", "JobHeldAdmin"])
def test_a_reason_that_is_taken_out_of_the_table_is_missed(name: str) -> None:
    assert read_library().reasons - (set(REASONS) - {name}) == {name}


def test_every_value_says_something_to_a_user() -> None:
    for name in STATES:
        assert classify_state(name).said.endswith("."), name
    for name, reason in REASONS.items():
        assert reason.said.endswith("."), name
        assert find_reason(name) == find_reason(name.upper()) == reason


# (source, why, state, reason, the note's kind, a part of what is said)
NEVER_BY_ITSELF = (
    ("faults 2026-11-29, 2.7", "longer than the partition allows", "PENDING", "PartitionTimeLimit", "ask for less"),
    (
        "faults 2026-11-29, 2.7",
        "longer than the account allows",
        "PENDING",
        "AssocMaxWallDurationPerJobLimit",
        "ask for less",
    ),
    ("faults 2026-11-29, 2.7", "its reservation was deleted", "RESV_DEL_HOLD", "ReservationDeleted", "reservation"),
    ("faults 2026-11-29, 2.7", "as before, where the state alone says it", "RESV_DEL_HOLD", "None", "reservation"),
    ("ReFrame 1704", "a budget that is used up", "PENDING", "AssocGrpCPUMinutesLimit", "budget"),
    ("ReFrame 1704", "larger than one job may be", "PENDING", "QOSMaxGRESPerJob", "ask for less"),
    ("autosubmit 2854", "smaller than one job has to be", "PENDING", "QOSMinCpuNotSatisfied", "ask for more"),
    ("snakemake 109", "put back and held by somebody", "REQUEUE_HOLD", "job requeued in held state", "holds it"),
    (
        "Slurm 24.11, job_mgr.c",
        "put back and held too often",
        "PENDING",
        "launch failure limit exceeded requeued held",
        "holds it",
    ),
    (
        "Slurm 22.05, partition_mgr.c",
        "a sentence where a name stands",
        "PENDING",
        "Job's account not permitted to use this partition (big allows a not b)",
        "partition",
    ),
    (
        "Slurm 26.05, read_config.c",
        "a license that was taken away",
        "PENDING",
        "License request 'x:1' is no longer valid, holding job",
        "license",
    ),
    ("Slurm, newer than 26.05", "a state that nobody knows", "HIBERNATED", "None", "does not know"),
)


@pytest.mark.parametrize(("source", "why", "state", "reason", "part"), NEVER_BY_ITSELF)
def test_what_never_passes_by_itself_asks_for_a_person(
    source: str, why: str, state: str, reason: str, part: str
) -> None:
    note = note_of(state, reason)
    assert (note.kind, part in note.message) == ("attention", True), (source, why, note)
    assert (reason if reason != "None" else state) in note.message, "Slurm's own word is shown, for the site's support"


ORDINARY = (
    ("faults 2026-11-29, 3b.10", "its turn has not come", "PENDING", "Priority", "waiting_for_slurm", "its turn"),
    ("faults 2026-11-29, 3b.10", "nodes are busy", "PENDING", "Resources", "waiting_for_slurm", "free resources"),
    ("Slurm, job_reason_codes", "not considered yet", "PENDING", "None", "waiting_for_slurm", "its turn"),
    (
        "Slurm, node_scheduler.c",
        "a node is away",
        "PENDING",
        "ReqNodeNotAvail, UnavailableNodes:n[1-3]",
        "waiting_for_slurm",
        "come back",
    ),
    (
        "Slurm, job_scheduler.c",
        "nodes are drained",
        "PENDING",
        "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
        "waiting_for_slurm",
        "come back",
    ),
    ("sisyphus 241", "as many run as may", "PENDING", "QOSMaxJobsPerUserLimit", "waiting_for_limit", "until some end"),
    (
        "sisyphus 241",
        "the group uses all that it may",
        "PENDING",
        "AssocGrpGRES",
        "waiting_for_limit",
        "until some end",
    ),
    ("faults 2026-11-29, 2.8", "nodes are being booted", "CONFIGURING", "None", "waiting_for_slurm", "prepared"),
    (
        "Slurm, newer than 26.05",
        "a reason that nobody knows is shown as it is",
        "PENDING",
        "WaitingForGodot",
        "waiting_for_slurm",
        "WaitingForGodot",
    ),
)


@pytest.mark.parametrize(("source", "why", "state", "reason", "kind", "part"), ORDINARY)
def test_an_ordinary_wait_is_explained_and_calls_nobody(
    source: str, why: str, state: str, reason: str, kind: str, part: str
) -> None:
    note = note_of(state, reason)
    assert (note.kind, part in note.message) == (kind, True), (source, why, note)


def test_reasons_that_change_at_each_look_are_one_note() -> None:
    # Each other note is a report, and the gateway keeps a number of them only.
    assert len({note_of("PENDING", reason).message for reason in ("None", "", "Priority", "Resources")}) == 1


@pytest.mark.parametrize("tail", ["", ", UnavailableNodes:n1", ", UnavailableNodes:n[1-3]", ", May be reserved"])
def test_a_list_of_nodes_that_changes_is_one_note(tail: str) -> None:
    assert note_of("PENDING", f"ReqNodeNotAvail{tail}") == note_of("PENDING", "ReqNodeNotAvail")


@pytest.mark.parametrize("state", ["HIBERNATED", "?", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"])
def test_a_running_task_whose_job_is_shown_in_an_odd_state_asks_for_a_person(state: str) -> None:
    assert note_of(state, "None", is_claimed=True).kind == "attention"


@pytest.mark.parametrize(
    "reason",
    [
        "launch failed requeued held",
        "launch_failed_requeued_held",
        "launch failure limit exceeded requeued held",
        "user env retrieval failed requeued held",
        "Launch Failed Requeued Held",
    ],
)
def test_a_launch_that_failed_is_known_in_every_versions_words(reason: str) -> None:
    assert is_launch_failure(reason)


@pytest.mark.parametrize("reason", ["JobHeldAdmin", "", "Prolog", "job requeued in held state", "JobLaunchFailure"])
def test_what_somebody_holds_is_no_launch_that_failed(reason: str) -> None:
    assert not is_launch_failure(reason)
