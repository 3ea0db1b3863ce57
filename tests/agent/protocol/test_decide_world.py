"""The real decide() in the model's hostile world: no violation, no dead end; and the world sees a bad decide()."""

import pytest

from agent.protocol.actions import Action, Close, OpenAttempt, PutFence
from agent.protocol.decide import Situation, decide
from agent.protocol.journal import TaskJournal
from agent.settings import Waits
from mltm.contract.journal_records import Verdict
from mltm.contract.states import State
from tests.agent.protocol.world import Case, explore

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]
CASES = [
    Case(),
    Case(cancel=True, attempts=1),
    Case(rerun=True),
    Case(agents=3, attempts=1),
    Case(requests=2, attempts=1, cancel=True),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_real_decide_survives_the_hostile_world(case: Case) -> None:
    states, violations, dead_ends = explore(case)

    assert states > 1000
    assert violations == {}
    assert dead_ends == 0


def _without_fence(journal: TaskJournal, seen: Situation, waits: Waits) -> Action:
    step = decide(journal, seen, waits)
    return OpenAttempt(step.number + 1) if isinstance(step, PutFence) else step


def _believes_slurm(journal: TaskJournal, seen: Situation, waits: Waits) -> Action:
    """Takes Slurm's word for an end without asking the beat."""
    last = journal.last
    if journal.closed is None and last is not None and last.owner is not None and seen.observation.ended is not None:
        return OpenAttempt(last.number + 1)
    return decide(journal, seen, waits)


def _says_never_started(journal: TaskJournal, seen: Situation, waits: Waits) -> Action:
    """Calls a fenced rerun `cancelled before it started` although an earlier attempt ran."""
    step = decide(journal, seen, waits)
    if isinstance(step, Close) and journal.last is not None and journal.last.fence is not None:
        return Close(step.number, Verdict(state=State.CANCELLED, evidence="fence"))
    return step


def _believes_any_refusal(journal: TaskJournal, seen: Situation, waits: Waits) -> Action:
    """Takes the refusal of any copy for the owner's."""
    last = journal.last
    if journal.closed is None and last is not None and last.noted is not None and last.refused and last.exit is None:
        return OpenAttempt(last.number + 1)
    return decide(journal, seen, waits)


@pytest.mark.parametrize(
    ("bad_decide", "case", "violation"),
    [
        (_believes_any_refusal, Case(), "started twice"),
        (_without_fence, Case(), "started twice"),
        (_believes_slurm, Case(rerun=True), "two copies at once"),
        (_says_never_started, Case(rerun=True), "closed as never run, but it ran"),
    ],
)
def test_the_world_sees_a_bad_decide(bad_decide: object, case: Case, violation: str) -> None:
    _, violations, _ = explore(case, bad_decide, until=violation)

    assert violation in violations
