"""What is decided once a job owns an attempt, up to the end and its correction, case by case."""

from dataclasses import replace
from typing import Any

import pytest

from agent.protocol.actions import Amend, CancelJobs, Close, OpenAttempt, PutNote, Wait
from agent.protocol.decide import decide
from agent.protocol.journal import AttemptJournal, TaskJournal
from mltm.contract.journal_records import Amended, Dup, JobClaim
from mltm.contract.states import State
from tests.agent.protocol import build
from tests.agent.protocol.views import GONE, NAME, NOW_S, OVER, OWNED, WAITS, attempt, seen


def test_a_claim_is_noted_before_anything_else() -> None:
    journal = build.task_journal(attempt(claim=build.claim()))

    assert decide(journal, seen(**OVER), WAITS) == PutNote(1, build.claim())


def test_a_wiped_claim_that_was_noted_counts() -> None:
    journal = build.task_journal(attempt(noted=build.claim()), cancel=build.cancel())

    assert decide(journal, seen(), WAITS) == CancelJobs((("7", NAME),))


def test_a_cancel_of_a_running_task_is_repeated_until_it_is_over() -> None:
    journal = build.task_journal(attempt(**OWNED), cancel=build.cancel())

    assert isinstance(decide(journal, seen(scancel_at_s=NOW_S - 5), WAITS), Wait)
    assert isinstance(decide(journal, seen(scancel_at_s=NOW_S - 31), WAITS), CancelJobs)


def test_a_cancel_goes_on_when_the_end_may_be_a_copys() -> None:
    dup = (Dup(nonce=build.NONCE, job_id="7", node="n2"),)
    journal = build.task_journal(attempt(**OWNED, dups=dup), cancel=build.cancel())

    assert isinstance(decide(journal, seen(ended="COMPLETED"), WAITS), CancelJobs)


def test_an_exit_record_closes_the_task() -> None:
    step = decide(build.task_journal(attempt(**OWNED, exit=build.exit_record(0))), seen(), WAITS)

    assert isinstance(step, Close)
    assert (step.number, step.verdict.state) == (2, State.SUCCEEDED)


def test_an_exit_record_of_another_nonce_counts_for_nothing() -> None:
    forged = build.exit_record(0, nonce="f" * 32)

    assert isinstance(decide(build.task_journal(attempt(**OWNED, exit=forged)), seen(), WAITS), Wait)


def test_a_stopped_job_is_judged_with_slurms_word() -> None:
    stopped = build.exit_record(0, stop_signals=[{"name": "TERM", "uptime_s": 1.0}])
    journal = build.task_journal(attempt(**OWNED, exit=stopped))

    assert decide(journal, seen(), WAITS) == Wait(NOW_S + WAITS.poll_soon_s, needs_poll=True)
    told = decide(journal, seen(ended="TIMEOUT"), WAITS)
    silent = decide(journal, seen(**GONE), WAITS)
    assert isinstance(told, Close)
    assert isinstance(silent, Close)
    assert (told.verdict.state, silent.verdict.state) == (State.TIMEOUT, State.FAILED)


def test_slurms_end_without_the_beats_is_no_end() -> None:
    assert isinstance(decide(build.task_journal(attempt(**OWNED)), seen(ended="NODE_FAIL"), WAITS), Wait)


def test_over_without_an_exit_record_is_closed_by_slurms_word_or_lost() -> None:
    journal = build.task_journal(attempt(**OWNED))
    named = decide(journal, seen(**OVER, ended="NODE_FAIL"), WAITS)
    unnamed = decide(journal, seen(**OVER), WAITS)
    dup = (Dup(nonce=build.NONCE, job_id="7", node="n2"),)
    copied = decide(build.task_journal(attempt(**OWNED, dups=dup)), seen(**OVER, ended="NODE_FAIL"), WAITS)

    assert isinstance(named, Close)
    assert isinstance(unnamed, Close)
    assert isinstance(copied, Close)
    states = (named.verdict.state, unnamed.verdict.state, copied.verdict.state)
    assert states == (State.NODE_FAIL, State.LOST, State.LOST)


def test_a_rerun_happens_only_where_it_was_asked_for_and_within_its_limit() -> None:
    config = build.config(rerun_on=["node_fail"], rerun_limit=1)
    journal = build.task_journal(attempt(**OWNED))
    over = {**OVER, "ended": "NODE_FAIL"}

    again = decide(journal, seen(**over, config=config), WAITS)
    assert again == OpenAttempt(2, "attempt 1 ended as node_fail", State.NODE_FAIL)
    assert isinstance(decide(journal, seen(**OVER, config=config), WAITS), Close)
    assert isinstance(decide(build.task_journal(attempt(**OWNED), cancel=build.cancel()), seen(**over), WAITS), Close)
    second = AttemptJournal(2, build.submit(2, State.NODE_FAIL), claim=build.claim("8"), noted=build.claim("8"))
    spent = decide(build.task_journal(attempt(**OWNED), second), seen(attempt=2, **over, config=config), WAITS)
    assert isinstance(spent, Close)


CUT_OFF: dict[str, Any] = {"code": 143, "stop_signals": [{"name": "TERM", "uptime_s": 1.0}]}


@pytest.mark.parametrize(
    ("record", "said", "rerun_on", "state"),
    [
        (CUT_OFF, "TIMEOUT", ["timeout"], State.TIMEOUT),
        (CUT_OFF, "PREEMPTED", ["preempted"], State.PREEMPTED),
        ({"code": 137, "oom_kills": 1}, "FAILED", ["out_of_memory"], State.OUT_OF_MEMORY),
        ({"code": 137}, "OUT_OF_MEMORY", ["out_of_memory"], State.OUT_OF_MEMORY),
        ({**CUT_OFF, "stopped_for_beat": True}, "FAILED", ["node_fail"], State.NODE_FAIL),
        (CUT_OFF, "NODE_FAIL", ["timeout", "node_fail"], State.NODE_FAIL),
        ({"code": 85}, "FAILED", [85], State.FAILED),
        ({"code": 3}, "FAILED", ["timeout", 85, 3], State.FAILED),
    ],
)
def test_a_rerun_follows_each_end_that_the_task_names_whoever_tells_it(
    record: dict[str, Any], said: str, rerun_on: list[object], state: State
) -> None:
    journal = build.task_journal(attempt(**OWNED, exit=build.exit_record(**record)))
    seen_end = seen(ended=said, config=build.config(rerun_on=rerun_on, rerun_limit=1))

    assert decide(journal, seen_end, WAITS) == OpenAttempt(2, f"attempt 1 ended as {state}", state, after_exit=True)
    refused = decide(journal, replace(seen_end, refusal="There is no image."), WAITS)
    assert isinstance(refused, Close)
    assert (refused.verdict.state, "No rerun: There is no image." in refused.verdict.reason) == (state, True)
    cancelled = decide(replace(journal, cancel=build.cancel()), seen_end, WAITS)
    assert isinstance(cancelled, Close)


@pytest.mark.parametrize(
    ("record", "said", "rerun_on"),
    [
        ({"code": 0}, "COMPLETED", ["timeout", "node_fail", "lost", "preempted", "out_of_memory", 1, 255]),
        ({"code": 1}, "FAILED", ["timeout", 2]),
        (CUT_OFF, "TIMEOUT", ["preempted", 143]),
        ({"code": 143}, "FAILED", [143]),  # a death by signal is no exit code
    ],
)
def test_no_rerun_follows_an_end_that_is_not_named(record: dict[str, Any], said: str, rerun_on: list[object]) -> None:
    journal = build.task_journal(attempt(**OWNED, exit=build.exit_record(**record)))
    config = build.config(rerun_on=rerun_on, rerun_limit=9)
    assert isinstance(decide(journal, seen(ended=said, config=config), WAITS), Close)


def test_reruns_after_exit_records_count_against_the_limit() -> None:
    config = build.config(rerun_on=["timeout"], rerun_limit=1)
    first = attempt(**OWNED, exit=build.exit_record(**CUT_OFF))
    second = AttemptJournal(
        2, build.submit(2, State.TIMEOUT, after_exit=True), claim=build.claim(), noted=build.claim(), exit=first.exit
    )
    step = decide(build.task_journal(first, second), seen(attempt=2, ended="TIMEOUT", config=config), WAITS)
    assert isinstance(step, Close)
    assert (step.number, step.verdict.state) == (3, State.TIMEOUT)


@pytest.mark.parametrize(
    ("state", "after_exit", "code", "end"),
    [
        (State.TIMEOUT, True, 143, State.TIMEOUT),
        (State.FAILED, True, 85, State.FAILED),
        (State.OUT_OF_MEMORY, True, 1, State.OUT_OF_MEMORY),
        (State.NODE_FAIL, True, 1, State.NODE_FAIL),
        (State.LOST, False, 0, State.SUCCEEDED),  # the record came after the rerun was opened
        (State.NODE_FAIL, False, 3, State.FAILED),
        (State.TIMEOUT, False, 143, State.TIMEOUT),
    ],
)
def test_if_the_rerun_never_starts_the_earlier_end_stands_with_its_details(
    state: State, code: int, end: State, *, after_exit: bool
) -> None:
    first = attempt(**OWNED, exit=build.exit_record(code))
    intent = build.submit(2, state, after_exit=after_exit)
    second = AttemptJournal(2, intent, claim=build.fence("refused_by_slurm", "message"))
    step = decide(TaskJournal(build.TASK, (first, second)), seen(attempt=2), WAITS)

    assert isinstance(step, Close)
    verdict = step.verdict
    assert (verdict.state, verdict.exit_code, verdict.elapsed_s, verdict.evidence) == (end, code, 60.0, "exit")
    assert verdict.reason == f"Attempt 1 ended as {end}; the rerun never started: message"


def test_only_a_record_that_came_after_the_rerun_is_late() -> None:
    first = attempt(**OWNED, exit=build.exit_record(85))
    known, late = (AttemptJournal(2, build.submit(2, State.FAILED, after_exit=each)) for each in (True, False))
    assert build.task_journal(first, known).late_exits == ()
    assert build.task_journal(first, late).late_exits == ((first, first.exit),)


def test_a_rerun_that_the_site_refuses_closes_the_task_with_the_end_that_it_had() -> None:
    """To open the attempt again and again would never end: it is refused each time."""
    config = build.config(rerun_on=["node_fail"], rerun_limit=1)
    over = seen(**OVER, ended="NODE_FAIL", config=config, refusal="There is no image 'torch' any more.")

    step = decide(build.task_journal(attempt(**OWNED)), over, WAITS)

    assert isinstance(step, Close)
    assert (step.number, step.verdict.state) == (2, State.NODE_FAIL)
    assert step.verdict.reason.endswith("No rerun: There is no image 'torch' any more.")


def test_a_rerun_that_never_started_keeps_the_first_attempts_end() -> None:
    first = attempt(**OWNED)
    second = AttemptJournal(2, build.submit(2, State.NODE_FAIL), claim=build.fence("refused_by_slurm", "message"))
    step = decide(TaskJournal(build.TASK, (first, second)), seen(attempt=2), WAITS)

    assert isinstance(step, Close)
    assert step.verdict.state is State.NODE_FAIL


def test_a_late_exit_record_corrects_lost_once() -> None:
    ran = attempt(**OWNED, exit=build.exit_record(0))
    lost = build.closed(2, State.LOST)

    step = decide(build.task_journal(ran, closed=lost), seen(), WAITS)
    assert isinstance(step, Amend)
    assert step.verdict.state is State.SUCCEEDED
    amended = Amended(verdict=step.verdict, at=build.NOW)
    assert isinstance(decide(build.task_journal(ran, closed=lost, amended=amended), seen(), WAITS), Wait)


def test_a_closed_task_stays_closed() -> None:
    journal = build.task_journal(
        attempt(claim=JobClaim(**build.claim().model_dump())), closed=build.closed(2, State.FAILED)
    )

    assert isinstance(decide(journal, seen(may_submit=True, **GONE), WAITS), Wait)
