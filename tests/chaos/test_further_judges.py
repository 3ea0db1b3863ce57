"""The verdicts of the scenarios that judge more than starts and ends: races, drops, outages."""

import pytest

from chaos.ground.writes import Met
from chaos.ledger import Judgement
from chaos.load.stream import KINDS, HandedIn
from chaos.scenarios.claims import Answer, judge_race
from chaos.scenarios.disk import find_later, find_met
from chaos.scenarios.drops import Dropped, judge_drops
from chaos.scenarios.outage import Outage, find_faults
from chaos.scenarios.writes import find_jobs_struck

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


def test_only_a_task_under_way_during_a_fill_may_suffer_and_one_behind_the_last_may_not() -> None:
    good, bad = KINDS[:2]
    spans = {
        "before": (1, 9),
        "into": (1, 10),
        "within": (12, 13),
        "between": (21, 29),
        "unended": (25,),
        "after": (41, 45),
    }
    handed_in = {name: HandedIn(good, *span) for name, span in spans.items()} | {"bad": HandedIn(bad, 41, 45)}
    fills = [(10.0, 20.0), (30.0, 40.0)]

    assert find_met(handed_in, fills) == {"into", "within", "unended"}
    assert find_later(handed_in, fills) == {"after"}


def test_only_a_job_that_was_struck_from_its_claim_on_may_be_lost() -> None:
    before = [Met("a", 1, "create", "full", "/tasks/a/control/.claim.01.n"), Met("a", 2, "link", "-", "/claim.01")]
    at = [Met("b", 1, "link", "kill-after", "/tasks/b/control/claim.01")]
    after = [Met("c", 1, "link", "-", "/tasks/c/control/claim.01"), Met("c", 2, "fsync", "kill-before", "/exit")]
    slurms = [Met("d", 1, "create", "full", "/tasks/d/control/slurm.01.out")]
    shared = [Met("outbox/link", 1, "link", "kill-after", "/outbox/1.json")]
    trace = [*before, *at, *after, *slurms, *shared]

    assert find_jobs_struck(trace, is_of_jobs=True) == {"b", "c", "d"}
    assert find_jobs_struck(trace, is_of_jobs=False) == {"d"}
