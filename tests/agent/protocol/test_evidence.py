"""No sequence of polls, bells and files ends a task without positive evidence; the evidence for each end (protocol):

succeeded: the owner's exit record, code 0, no stop signal before the code ended. failed: the owner's exit record with
another code or a signal. rejected: nothing ran, and policy, Slurm for good, or the same refusal three times said no.
cancelled, deadline before the start: nothing ran, and our cancel is on record or Slurm said so before our own scancel.
Any end of an attempt that ran and left no exit record: Slurm's end of the owner's job, or three good polls without it
over 300 s; and the beat stood still for 300 s, and the folder was looked at for 120 s more. A named end is Slurm's.
"""

import operator
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from agent.protocol.journal import AttemptJournal
from mltm.contract.journal_records import Verdict
from mltm.contract.states import NEVER_RAN, State
from tests.agent.protocol.watched import OWNER, STRANGER, Watched

STATES = ("PENDING", "RUNNING", "COMPLETING", "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "DEADLINE",
          "OUT_OF_MEMORY", "PREEMPTED", "BOOT_FAIL", "SUSPENDED", "NEVER_HEARD_OF")  # fmt: skip
JOBS = st.lists(st.tuples(st.sampled_from([OWNER, OWNER, STRANGER]), st.sampled_from(STATES)), max_size=2).map(tuple)
BEFORE = "before it started"


def call(name: str, *values: st.SearchStrategy[Any], **named: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(st.just(name), st.tuples(*values), st.fixed_dictionaries(named))


SLURM = (
    call("wait", st.sampled_from([1.0, 31.0, 61.0, 130.0, 301.0, 700.0])),
    call("poll", st.one_of(st.none(), st.just(()), JOBS, JOBS)),
    call("fall_silent", st.integers(1, 5), st.sampled_from([30.0, 150.0, 301.0])),
    call("account", st.sampled_from(STATES)),
)
FILES = (
    call("beat"),
    call("claim"),
    call("lose_claim"),
    call("exit", st.sampled_from([0, 0, 1, 137, 143]), is_own=st.booleans(),
         signals=st.sampled_from([(), (), ("TERM",)])),
    call("refuse", st.sampled_from(["image", "stopped"]), is_own=st.booleans()),
    call("copy"),
    call("cancel"),
)  # fmt: skip
Event = tuple[str, tuple[Any, ...], dict[str, Any]]
CLAIMED: list[Event] = [("claim", (), {})]
BEATING: list[Event] = [*CLAIMED, ("beat", (), {})]
ANY = st.lists(st.one_of(*SLURM, *FILES), min_size=1, max_size=40)
# Most ends need a claim first, and that nothing contradicts Slurm for long.
OF_SLURM = st.builds(operator.add, st.sampled_from([[], CLAIMED, BEATING]), st.lists(st.one_of(*SLURM), max_size=12))


@settings(deadline=None, max_examples=settings().max_examples * 3)
@given(
    events=st.one_of(ANY, OF_SLURM, OF_SLURM),
    answers=st.lists(st.sampled_from(["accepted", "ambiguous", "transient", "permanent"]), min_size=1, max_size=3),
    rerun=st.booleans(),
)
def test_no_sequence_ends_a_task_without_positive_evidence(
    events: list[Event], answers: list[str], *, rerun: bool
) -> None:
    watched = Watched(rerun=rerun, answers=answers)
    for name, values, named in events:
        getattr(watched, name)(*values, **named)
        assert watched.problems == []
        if watched.close is not None:
            event(f"{watched.close.state} by {watched.close.evidence}")
            assert is_founded(watched, watched.close), (watched.close, watched.journal, watched.witness)
            return


def is_founded(watched: Watched, verdict: Verdict) -> bool:
    journal = watched.journal
    last, ran = journal.last, [attempt for attempt in journal.attempts if attempt.may_have_run]
    if verdict.evidence in {"fence", "policy"}:
        return not ran and _is_said_to_never_run(watched, verdict)
    if last is not None and last.own_exit is not None:
        return verdict.evidence == "exit" and _agrees_with_exit(last, verdict)
    if last is not None and last.may_have_run:
        is_over = watched.witness.is_over(watched.now_s, is_copied=bool(last.dups))
        return is_over and _agrees_with_slurm(watched, last, verdict)
    # The last attempt is fenced or declined: the end is that of the one before which ran.
    ends = {attempt.intent.after_state for attempt in journal.attempts} - {None}
    is_cancelled = journal.cancel is not None or State.CANCELLED in watched.said  # the rerun was, while it waited
    if bool(ran) and ran[-1].own_exit is not None and verdict.state not in {*ends, State.CANCELLED}:
        return verdict.evidence == "exit" and _agrees_with_exit(ran[-1], verdict)  # it came after the rerun was opened
    return bool(ran) and (verdict.state in ends or (verdict.state is State.CANCELLED and is_cancelled))


def _agrees_with_exit(last: AttemptJournal, verdict: Verdict) -> bool:
    record = last.own_exit
    assert record is not None
    match verdict.state:
        case State.SUCCEEDED:
            is_stopped = bool(record.stop_signals)
            return record.code == 0 and (not is_stopped or not record.stopped_in_time)
        case State.REJECTED | State.LOST:
            return False
        case _:
            return record.code != 0 or bool(record.stop_signals)


def _agrees_with_slurm(watched: Watched, last: AttemptJournal, verdict: Verdict) -> bool:
    named = watched.ends_named()
    if verdict.state is State.LOST:
        return True
    return verdict.state not in {State.SUCCEEDED, State.FAILED} and verdict.state in named and not last.dups


def _is_said_to_never_run(watched: Watched, verdict: Verdict) -> bool:
    journal = watched.journal
    match verdict.state:
        case State.CANCELLED:
            return journal.cancel is not None or State.CANCELLED in watched.said
        case State.DEADLINE:
            return State.DEADLINE in watched.said
        case State.REJECTED:
            refusals = [record for attempt in journal.attempts for record in attempt.refused if record.check == "image"]
            is_refused = any(a.submitted is not None and a.submitted.outcome == "permanent" for a in journal.attempts)
            return is_refused or len(refusals) >= 3
        case _:
            return False


def test_rejected_is_the_only_state_that_says_by_itself_that_nothing_ran() -> None:
    assert set(NEVER_RAN) == {State.REJECTED}
