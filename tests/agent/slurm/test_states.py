"""Every state of Slurm's and what it means for a task; reasons of jobs that wait for a person."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.slurm.reasons import find_reason, is_launch_failure
from agent.slurm.states import Kind, StateMeaning, classify_state
from mltm.contract.states import State

NOT_ENDED: tuple[tuple[str, Kind, bool], ...] = (
    ("PENDING", "pending", False),
    ("CONFIGURING", "pending", False),
    ("POWER_UP_NODE", "pending", False),
    ("REQUEUED", "pending", False),
    ("REQUEUE_FED", "pending", False),
    ("REQUEUE_HOLD", "pending", True),
    ("SPECIAL_EXIT", "pending", True),
    ("RESV_DEL_HOLD", "pending", True),
    ("LAUNCH_FAILED", "pending", True),
    ("RECONFIG_FAIL", "pending", True),
    ("GETENV_FAILED", "pending", True),
    ("RUNNING", "running", False),
    ("RESIZING", "running", False),
    ("SIGNALING", "running", False),
    ("STAGE_OUT", "running", False),
    ("EXPEDITING", "running", False),
    ("SUSPENDED", "paused", False),
    ("STOPPED", "paused", False),
    ("COMPLETING", "finishing", False),
    ("UPDATE_DB", "finishing", False),
    ("HIBERNATING", "unknown", True),
    ("", "unknown", True),
)
ENDED: tuple[tuple[str, State | None], ...] = (
    ("COMPLETED", None),
    ("FAILED", None),
    ("REVOKED", None),
    ("CANCELLED", State.CANCELLED),
    ("CANCELLED by 1000", State.CANCELLED),
    ("TIMEOUT", State.TIMEOUT),
    ("DEADLINE", State.DEADLINE),
    ("OUT_OF_MEMORY", State.OUT_OF_MEMORY),
    ("NODE_FAIL", State.NODE_FAIL),
    ("BOOT_FAIL", State.NODE_FAIL),
    ("PREEMPTED", State.PREEMPTED),
)


@pytest.mark.parametrize(("text", "kind", "attention"), NOT_ENDED)
def test_a_state_that_is_no_end_names_none(text: str, kind: Kind, *, attention: bool) -> None:
    assert classify_state(text) == StateMeaning(kind, None, attention)
    assert classify_state(text.lower()) == classify_state(text)


@pytest.mark.parametrize(("text", "end"), ENDED)
def test_an_end_is_named_where_slurm_alone_can_know_it(text: str, end: State | None) -> None:
    assert classify_state(text) == StateMeaning("ended", end)


@pytest.mark.parametrize(
    ("text", "same"), [("OUT_OF_ME+", "OUT_OF_MEMORY"), ("CANCELLED+", "CANCELLED"), ("COMPLETED+", "COMPLETED")]
)
def test_a_state_that_was_cut_is_understood_where_it_can_be_but_one(text: str, same: str) -> None:
    assert classify_state(text) == classify_state(same)


@pytest.mark.parametrize("text", ["COMPLET+", "RE+", "+", "NOPE+", "  ", "COMPLETED_NOT"])
def test_a_state_that_could_be_two_ends_nothing(text: str) -> None:
    assert classify_state(text).kind == "unknown"


@given(st.text())
def test_no_text_breaks_the_table_or_ends_a_job_by_accident(text: str) -> None:
    known = {name.split()[0] for name, _ in ENDED}
    first = next(iter(text.split()), "")

    assert classify_state(text).kind != "ended" or first.upper() in known or first.endswith("+")
    find_reason(text)
    is_launch_failure(text)


@pytest.mark.parametrize(
    ("reason", "stuck"),
    [
        ("JobHeldUser", True),
        ("JobHeldAdmin", True),
        ("BadConstraints", True),
        ("DependencyNeverSatisfied", True),
        ("launch failed requeued held", True),
        ("launch_failed_requeued_held", True),
        ("job requeued in held state", True),
        ("Priority", False),
        ("Resources", False),
        ("", False),
    ],
)
def test_a_person_is_called_where_waiting_does_not_help(reason: str, *, stuck: bool) -> None:
    found = find_reason(reason)
    assert found is not None
    assert found.attention is stuck
    assert is_launch_failure(reason) is reason.startswith("launch")
