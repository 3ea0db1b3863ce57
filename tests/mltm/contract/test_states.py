import itertools
from pathlib import Path

import pytest

from mltm.contract.states import ACTIVE, FINAL, State, is_allowed, is_final
from tests.mltm.contract.render_states import render

CORRECTABLE = {State.LOST, State.NODE_FAIL}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(State, State)), ids=str)
def test_every_pair_follows_the_rules(before: State, after: State) -> None:
    if before == after:
        expected = True
    elif is_final(before):
        expected = before in CORRECTABLE and is_final(after) and after is not State.REJECTED
    else:
        expected = after is not State.ACCEPTED

    assert is_allowed(before, after) is expected


def test_every_state_is_active_or_final() -> None:
    assert {*ACTIVE, *FINAL} == set(State)
    assert len(FINAL) == 10


def test_the_page_in_the_docs_is_the_table() -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "states.md"

    assert page.read_text() == render()
