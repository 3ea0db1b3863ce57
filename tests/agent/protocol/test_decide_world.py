"""The real decide() in the model's hostile world: no violation, no dead end; and the world sees a bad decide()."""

import pytest

from agent.protocol.actions import Close, OpenAttempt, PutFence, Step
from agent.protocol.decide import Seen, decide
from agent.protocol.journal import TaskLog
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


def _without_fence(log: TaskLog, seen: Seen, waits: Waits) -> Step:
    step = decide(log, seen, waits)
    return OpenAttempt(step.number + 1) if isinstance(step, PutFence) else step


def _believes_slurm(log: TaskLog, seen: Seen, waits: Waits) -> Step:
    """Takes Slurm's word for an end without asking the beat."""
    last = log.last
    if log.closed is None and last is not None and last.owner is not None and seen.observation.ended is not None:
        return OpenAttempt(last.number + 1)
    return decide(log, seen, waits)


def _says_never_started(log: TaskLog, seen: Seen, waits: Waits) -> Step:
    """Calls a fenced rerun `cancelled before it started` although an earlier attempt ran."""
    step = decide(log, seen, waits)
    if isinstance(step, Close) and log.last is not None and log.last.fence is not None:
        return Close(step.number, Verdict(state=State.CANCELLED, evidence="fence"))
    return step


def _believes_any_refusal(log: TaskLog, seen: Seen, waits: Waits) -> Step:
    """Takes the refusal of any copy for the owner's."""
    last = log.last
    if log.closed is None and last is not None and last.noted is not None and last.refused and last.exit is None:
        return OpenAttempt(last.number + 1)
    return decide(log, seen, waits)


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
