"""The laws of the merge: what is known of a task is a function of the set of its reports, and only ever grows."""

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from mltm.contract.reports import AttemptView, Report, compute_task_view
from mltm.contract.states import Evidence, State, is_allowed, is_final
from tests.mltm.contract.histories import histories

_DETAILS = ("job_id", "node", "slurm_state", "exit_code", "signal", "started_at", "ended_at", "elapsed_s")
Parts = tuple[list[Report], list[Report], list[Report]]


def merge(*parts: Iterable[Report]) -> dict[tuple[int, int], Report]:
    """A gateway's memory: one report an identity."""
    return {(report.epoch, report.seq): report for part in parts for report in part}


@st.composite
def three_parts(draw: st.DrawFn) -> Parts:
    """One history, told by three agents that overlap as they like."""
    history = draw(histories())
    pick = st.lists(st.sampled_from(history), max_size=10) if history else st.just([])
    return draw(pick), draw(pick), draw(pick)


@settings(deadline=None)
@given(three_parts())
def test_merge_is_commutative_associative_and_idempotent(parts: Parts) -> None:
    one, two, three = parts
    known = compute_task_view(merge(one, two, three).values())

    assert compute_task_view(merge(three, two, one).values()) == known
    assert compute_task_view(merge(merge(one, two).values(), three).values()) == known
    assert compute_task_view(merge(one, merge(two, three).values()).values()) == known
    assert compute_task_view([*one, *two, *three, *one]) == known


@settings(deadline=None)
@given(histories(), st.data())
def test_what_is_known_only_ever_grows(history: list[Report], data: st.DataObject) -> None:
    order = data.draw(st.permutations(history))
    before = compute_task_view([])
    for count in range(1, len(order) + 1):
        after = compute_task_view(order[:count])
        assert is_allowed(before.state, after.state)
        assert after.taken >= before.taken
        attempts = {attempt.attempt: attempt for attempt in after.attempts}
        assert all(_has_grown(attempt, attempts[attempt.attempt]) for attempt in before.attempts)
        before = after


def _has_grown(before: AttemptView, after: AttemptView) -> bool:
    kept = all(getattr(after, name) is not None for name in _DETAILS if getattr(before, name) is not None)
    return kept and after.closed >= before.closed


@settings(deadline=None)
@given(histories())
def test_a_task_has_ended_where_an_end_was_told_and_an_amendment_has_the_last_word(history: list[Report]) -> None:
    ends = {report.state for report in history if report.evidence is Evidence.CLOSED}
    amended = {report.state for report in history if report.evidence is Evidence.AMENDED}
    state = compute_task_view(history).state

    assert is_final(state) == bool(ends | amended)
    if ends | amended:
        assert state in (amended or ends)


@settings(deadline=None)
@given(histories())
def test_an_open_task_stands_where_its_newest_attempt_does(history: list[Report]) -> None:
    seen = [report for report in history if not report.closed]
    newest = [report for report in seen if report.attempt == max(other.attempt for other in seen)]
    strongest = max((list(Evidence).index(report.evidence) for report in newest), default=-1)
    allowed = {report.state for report in newest if list(Evidence).index(report.evidence) == strongest}

    assert compute_task_view(seen).state in (allowed or {State.ACCEPTED})
