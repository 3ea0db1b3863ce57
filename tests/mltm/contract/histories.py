"""Every set of reports that honest agents can make of one task: the strategy for the tests of the merge."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from mltm.contract.reports import Report, StatusNote
from mltm.contract.states import ACTIVE, FINAL, Evidence, State

START = datetime(2026, 11, 23, tzinfo=UTC)
SPOOL_ID = "a" * 32
NOTES = (None, StatusNote(), StatusNote(kind="held", message="by root"), StatusNote(kind="paused"))
_OPEN = [state for state in ACTIVE if state is not State.ACCEPTED]
_CORRECTABLE = (State.LOST, State.NODE_FAIL)


@st.composite
def histories(draw: st.DrawFn) -> list[Report]:
    """What agents tell of a task in up to three epochs, with an end or without, told once or often, amended or not.

    The log itself is linked once: all reports of the end name one attempt and one verdict, and an amendment another,
    in that attempt. Everything else (who saw what, and when) is free.
    """
    closing, end, fixed = draw(st.integers(1, 3)), draw(st.sampled_from(FINAL)), draw(st.sampled_from(FINAL))
    kinds = ["seen", "seen", "seen", "end"]
    if end in _CORRECTABLE and fixed not in (end, State.REJECTED):
        kinds.append("amendment")
    made: list[Report] = []
    for seq, kind in enumerate(draw(st.lists(st.sampled_from(kinds), max_size=10)), start=1):
        known: dict[str, object] = {
            "spool_id": SPOOL_ID, "epoch": draw(st.integers(1, 3)), "seq": seq, "task_id": "0" * 32,
            "at": START + timedelta(seconds=draw(st.integers(0, 9))), "taken": draw(st.booleans()),
            "job_id": draw(st.sampled_from([None, "1", "2"])), "node": draw(st.sampled_from([None, "n1"])),
            "exit_code": draw(st.sampled_from([None, 0, 3])), "message": draw(st.sampled_from(["", "message"])),
            "note": draw(st.sampled_from(NOTES)),
        }  # fmt: skip
        made.append(Report.model_validate({**known, **_standing(draw, kind, closing, end, fixed)}))
    return made


def _standing(draw: st.DrawFn, kind: str, closing: int, end: State, fixed: State) -> dict[str, object]:
    if kind == "end":
        return {"attempt": closing, "state": end, "evidence": Evidence.CLOSED, "closed": True}
    if kind == "amendment":
        return {"attempt": closing, "state": fixed, "evidence": Evidence.AMENDED, "closed": True}
    evidence = draw(st.sampled_from([Evidence.NONE, Evidence.SLURM, Evidence.CLAIM, Evidence.EXIT]))
    return {"attempt": draw(st.integers(1, closing)), "state": draw(st.sampled_from(_OPEN)), "evidence": evidence}
