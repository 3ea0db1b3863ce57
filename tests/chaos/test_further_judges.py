"""The verdicts of the scenarios that judge more than starts and ends: races, drops, outages."""

import pytest

from chaos.ledger import Judgement
from chaos.scenarios.claims import Answer, judge_race
from chaos.scenarios.drops import Dropped, judge_drops
from chaos.scenarios.outage import Outage, find_faults

WHOLE, CUT = Dropped("a", "cp", "12"), Dropped("b", "cut off", "")


def list_verdicts(found: Judgement) -> set[str]:
    return {kind for kind in ("lost", "twice", "wrong") if getattr(found, kind)}


@pytest.mark.parametrize(
    ("owner", "answers", "verdicts"),
    [
        ("n1", [Answer("fence", "won", "n1"), Answer("wrapper", "lost", "n1")], set()),
        ("n1", [Answer("fence", "won", "n1"), Answer("wrapper", "won", "n1")], {"twice"}),
        ("n1", [Answer("fence", "lost", "n1"), Answer("wrapper", "lost", "n1")], {"lost"}),
        ("n1", [Answer("fence", "won", "n1"), Answer("wrapper", "lost", "n2")], {"wrong"}),
        ("n1", [Answer("fence", "won", "n1"), Answer("wrapper", "refused", "no space")], {"wrong"}),
    ],
)
def test_a_claim_has_exactly_one_owner_whom_all_name(owner: str, answers: list[Answer], verdicts: set[str]) -> None:
    found = Judgement()
    judge_race(owner, answers, found)

    assert list_verdicts(found) == verdicts


@pytest.mark.parametrize(
    ("starts", "verdicts"),
    [
        ([("a", "12")], set()),
        ([], {"lost"}),
        ([("a", "12"), ("a", "12")], {"twice"}),
        ([("a", "1")], {"wrong"}),
        ([("a", "12"), ("b", "12")], {"wrong"}),
        ([("a", "12"), ("c", "12")], {"wrong"}),
    ],
)
def test_a_drop_starts_once_and_whole_and_one_that_was_cut_off_never(
    starts: list[tuple[str, str]], verdicts: set[str]
) -> None:
    found = Judgement()
    judge_drops([WHOLE, CUT], starts, found)

    assert list_verdicts(found) == verdicts


@pytest.mark.parametrize(
    ("outage", "count"),
    [
        (Outage(100, 119, 30), 0),
        (Outage(100, 121, 30), 1),
        (Outage(100, 5, 0), 1),
        (Outage(100, 5, 1000), 1),
    ],
)
def test_a_long_drain_and_hammering_are_faults(outage: Outage, count: int) -> None:
    assert len(find_faults(outage)) == count
