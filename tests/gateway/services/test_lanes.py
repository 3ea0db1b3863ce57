"""Lanes: who is inside, who is told to come later, and that nobody's place is lost."""

import contextlib

import pytest

from gateway.errors import TooManyError, UnavailableError
from gateway.services import lanes
from gateway.services.lanes import Lanes


def test_each_caller_has_his_places_and_all_together_have_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lanes._LIMITS, "files", (2, 3))
    known = Lanes()
    with contextlib.ExitStack() as inside:
        for who in ("alice", "alice"):
            inside.enter_context(known.enter("files", who))
        with pytest.raises(TooManyError, match="alice has 2") as many, known.enter("files", "alice"):
            pass
        inside.enter_context(known.enter("files", "bob"))
        with pytest.raises(UnavailableError, match="serves 3") as busy, known.enter("files", "carol"):
            pass
        inside.enter_context(known.enter("bytes", "alice"))  # another lane
    assert (many.value.status, many.value.retry_after_s) == (429, 1)
    assert (busy.value.status, busy.value.retry_after_s) == (503, 1)

    with known.enter("files", "alice"), known.enter("files", "alice"), known.enter("files", "carol"):
        pass


def test_a_failure_inside_gives_the_place_back() -> None:
    known = Lanes()
    for _ in range(100):
        with contextlib.suppress(RuntimeError), known.enter("reports", "alice"):
            raise RuntimeError
    assert not known._inside["reports"]
