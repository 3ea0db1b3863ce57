"""Joined one by one, in any order and any repetition, reports say what `compute_task_view` says of their set."""

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mltm.contract.base_models import MAX_INT64
from mltm.contract.joined_reports import JoinedAttempt, JoinedTask, build_view, join_attempt, join_task, rank_report
from mltm.contract.reports import Report, StatusNote, TaskView, compute_task_view, digest_report
from mltm.contract.states import Evidence, State
from tests.mltm.contract.histories import histories

AT = datetime(2026, 11, 23, tzinfo=UTC)
_TIMES = st.sampled_from([None, AT, AT.replace(year=1), AT.replace(year=9998)])


@st.composite
def hostile_reports(draw: st.DrawFn) -> list[Report]:
    """Whatever passes validation: several ends, ends below newer attempts, equal numbers of two spools."""
    made: dict[tuple[str, int, int], Report] = {}
    for _ in range(draw(st.integers(0, 8))):
        fields: dict[str, Any] = {
            "spool_id": draw(st.sampled_from(["a" * 32, "b" * 32])), "task_id": "0" * 32, "at": AT,
            "epoch": draw(st.sampled_from([1, 2, MAX_INT64])), "seq": draw(st.sampled_from([1, 2, 3, MAX_INT64])),
            "attempt": draw(st.sampled_from([1, 2, 3, MAX_INT64])), "state": draw(st.sampled_from(State)),
            "evidence": draw(st.sampled_from(Evidence)), "closed": draw(st.booleans()), "taken": draw(st.booleans()),
            "message": draw(st.sampled_from(["", "one", "two"])),
            "note": draw(st.sampled_from([None, StatusNote(), StatusNote(kind="held", message="x")])),
            "job_id": draw(st.sampled_from([None, "1", "7_2"])), "node": draw(st.sampled_from([None, "", "n1"])),
            "slurm_state": draw(st.sampled_from([None, "PENDING"])), "started_at": draw(_TIMES),
            "ended_at": draw(_TIMES), "elapsed_s": draw(st.sampled_from([None, 0.0, -1.5, 1e308])),
            "exit_code": draw(st.sampled_from([None, 0, 3])), "signal": draw(st.sampled_from([None, 9])),
        }  # fmt: skip
        made.setdefault((fields["spool_id"], fields["epoch"], fields["seq"]), Report.model_validate(fields))
    return list(made.values())


def join_all(reports: list[Report]) -> TaskView:
    """One after another; what is kept between two goes through JSON, as in the database."""
    task, attempts = JoinedTask().model_dump_json(), dict[int, str]()
    for report in reports:
        rank, kept = rank_report(report, digest_report(report)), attempts.get(report.attempt)
        before = JoinedAttempt.model_validate_json(kept) if kept else None
        attempts[report.attempt] = join_attempt(before, report, rank).model_dump_json(exclude_defaults=True)
        joined = join_task(JoinedTask.model_validate_json(task), report, rank)
        task = joined.model_dump_json(exclude_defaults=True)
    known = {number: JoinedAttempt.model_validate_json(kept) for number, kept in attempts.items()}
    return build_view(JoinedTask.model_validate_json(task), known)


@settings(deadline=None, max_examples=300)
@given(st.one_of(histories(), hostile_reports()), st.randoms(use_true_random=False))
def test_joining_one_by_one_is_computing_from_the_set(reports: list[Report], chance: Any) -> None:
    again = [*reports, *reports]
    chance.shuffle(again)

    assert join_all(again) == join_all(reports) == compute_task_view(reports)


@settings(deadline=None)
@given(hostile_reports().filter(bool))
def test_the_deciding_attempt_alone_gives_the_same_state_and_reason(reports: list[Report]) -> None:
    task, attempts = JoinedTask(), dict[int, JoinedAttempt]()
    for report in reports:
        rank = rank_report(report, digest_report(report))
        attempts[report.attempt] = join_attempt(attempts.get(report.attempt), report, rank)
        task = join_task(task, report, rank)
    whole, part = compute_task_view(reports), build_view(task, {task.deciding: attempts[task.deciding]})

    assert (part.state, part.note, part.taken, part.last) == (whole.state, whole.note, whole.taken, whole.last)


def test_what_is_kept_of_an_attempt_does_not_grow_with_its_reports() -> None:
    fields = {
        "spool_id": "a" * 32, "task_id": "0" * 32, "attempt": 1, "state": "running", "evidence": "claim", "at": AT,
        "message": "x" * 8000, "job_id": "7", "node": "n" * 1000, "exit_code": 1,
    }  # fmt: skip
    sizes, kept = [], None
    for seq in range(1, 200):
        report = Report.model_validate({**fields, "epoch": 1, "seq": seq})
        kept = join_attempt(kept, report, rank_report(report, digest_report(report)))
        sizes.append(len(json.dumps(kept.model_dump(mode="json"))))

    assert max(sizes) - min(sizes) < 100
