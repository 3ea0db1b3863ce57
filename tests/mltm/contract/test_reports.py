"""What a set of reports says: any order, any repetition, any two agents, the same row."""

import hashlib
import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mltm.contract.base_models import render_canonical
from mltm.contract.reports import Report, StatusNote, compute_task_view, digest_report
from mltm.contract.states import ACTIVE, FINAL, Evidence, State, is_allowed, is_final

START = datetime(2026, 11, 23, tzinfo=UTC)
TASK = "0" * 32


def report(seq: int = 1, state: State = State.PENDING, **fields: object) -> Report:
    known = {
        "spool_id": "a" * 32, "epoch": 1, "seq": seq, "task_id": TASK, "attempt": 1, "state": state,
        "evidence": Evidence.SLURM, "at": START + timedelta(seconds=seq),
    }  # fmt: skip
    return Report.model_validate({**known, **fields})


@st.composite
def honest_reports(draw: st.DrawFn) -> list[Report]:
    """Reports as agents make them: unique identities, one closed verdict a task, final only when closed."""
    end, closing = draw(st.sampled_from(FINAL)), draw(st.integers(1, 3))
    made = []
    for seq in range(1, draw(st.integers(1, 8))):
        is_end = draw(st.integers(0, 3)) == 0
        state = end if is_end else draw(st.sampled_from(ACTIVE))
        evidence = Evidence.NONE if state is State.ACCEPTED else draw(st.sampled_from([*Evidence][:4]))
        made.append(
            report(
                seq,
                state,
                closed=is_end,
                attempt=closing if is_end else 1 if state is State.ACCEPTED else draw(st.integers(1, closing)),
                evidence=Evidence.CLOSED if is_end else evidence,
                epoch=draw(st.integers(1, 2)),
                job_id=draw(st.sampled_from([None, "1", "2"])),
                note=draw(st.sampled_from([None, StatusNote(), StatusNote(kind="held")])),
            )
        )
    return made


@settings(deadline=None)
@given(honest_reports(), st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(reports: list[Report], chance: object) -> None:
    again = [*reports, *reports]
    chance.shuffle(again)  # type: ignore[attr-defined] # random.Random

    unique = {(r.epoch, r.seq): r for r in again}.values()
    assert compute_task_view(unique) == compute_task_view(again) == compute_task_view(reports)


@settings(deadline=None)
@given(honest_reports())
def test_a_state_only_ever_moves_along_the_table(reports: list[Report]) -> None:
    states = [compute_task_view(reports[:n]).state for n in range(len(reports) + 1)]

    assert all(is_allowed(before, after) for before, after in itertools.pairwise(states))


@settings(deadline=None)
@given(honest_reports())
def test_no_task_ends_without_a_closed_record(reports: list[Report]) -> None:
    assert is_final(compute_task_view(reports).state) == any(r.closed for r in reports)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), _JSON))
def test_the_digest_is_that_of_the_whole_report_its_config_included(config: dict[str, object]) -> None:
    manifest = {
        "task_id": TASK, "owner": "a", "cluster": "c", "submitted_at": START, "script_name": "s", "config": config,
        "files": [],
    }  # fmt: skip
    told = report(1, manifest=manifest)
    whole = told.model_dump(mode="json", exclude_defaults=True)

    assert digest_report(told) == hashlib.sha256(render_canonical(whole)).hexdigest()


def test_stronger_evidence_goes_before_a_later_report() -> None:
    running = report(1, State.RUNNING, evidence=Evidence.CLAIM, job_id="7")
    stale = report(2, State.PENDING)

    assert compute_task_view([running, stale]).state is State.RUNNING


@pytest.mark.parametrize("ended", ["COMPLETED", None])
def test_slurms_state_is_no_older_than_the_state_beside_it(ended: str | None) -> None:
    pending = report(1, State.PENDING, evidence=Evidence.SLURM, slurm_state="PENDING", job_id="7")
    end = report(2, State.SUCCEEDED, evidence=Evidence.CLOSED, closed=True, slurm_state=ended)

    (attempt,) = compute_task_view([pending, end]).attempts

    assert (attempt.state, attempt.slurm_state, attempt.job_id) == (State.SUCCEEDED, ended, "7")


def test_a_new_attempt_goes_before_an_old_one() -> None:
    assert (
        compute_task_view([report(1, State.RUNNING), report(2, State.SUBMITTING, attempt=2)]).state is State.SUBMITTING
    )


def test_a_late_exit_corrects_lost() -> None:
    lost = report(1, State.LOST, closed=True, evidence=Evidence.CLOSED)
    amended = report(2, State.SUCCEEDED, closed=True, evidence=Evidence.AMENDED)

    assert compute_task_view([amended, lost]).state is State.SUCCEEDED


def test_the_latest_note_stands_and_is_gone_at_the_end() -> None:
    held, free = report(1, note=StatusNote(kind="held")), report(2, note=StatusNote())
    end = report(3, State.FAILED, closed=True, note=StatusNote(kind="held"))

    assert compute_task_view([free, held]).note == StatusNote()
    assert compute_task_view([held]).note.kind == "held"
    assert compute_task_view([held, end]).note == StatusNote()
