"""What is decided, case by case; the whole world is in test_decide_world.py."""

from typing import Any

import pytest

from agent.decide import Seen, decide
from agent.observe import Look, look
from agent.settings import Waits
from agent.slurm.values import JobLine
from agent.steps import Adopt, Amend, CallSbatch, CancelJobs, Close, OpenAttempt, PutFence, PutNote, Wait
from agent.tasklog import AttemptLog, TaskLog
from mltm.contract.ids import JobId, render_job_name
from mltm.contract.log_records import Amended, Dup, JobClaim, Refused, Submitted
from mltm.contract.states import State
from tests.agent.core import build

WAITS = Waits()
NOW_S = 10_000.0
NAME = render_job_name(build.TASK, 1)


def seen(**fields: Any) -> Seen:
    observed = {key: fields.pop(key) for key in list(fields) if key in type(build.observation()).model_fields}
    known = {"observation": build.observation(**observed), "now_s": NOW_S, "config": build.config(), **fields}
    return Seen(**known)


def attempt(number: int = 1, **fields: Any) -> AttemptLog:
    return AttemptLog(number, build.submit(number), **fields)


def submitted(outcome: str, job_id: str | None = None) -> Submitted:
    return Submitted(job_id=job_id, outcome=outcome, words="words", at=build.NOW)


def line(state: str, reason: str = "") -> JobLine:
    return JobLine(JobId("7"), state, NAME, reason=reason)


GONE: dict[str, Any] = {"absent_polls": 2, "absent_since_s": NOW_S - 61}
OVER: dict[str, Any] = {"over_since_s": NOW_S - 121}
OWNED: dict[str, Any] = {"claim": build.claim(), "noted": build.claim()}


def test_an_untouched_task_gets_its_first_attempt() -> None:
    assert decide(build.task_log(), seen(), WAITS) == OpenAttempt(1)


def test_an_untouched_task_is_cancelled_by_closing_it() -> None:
    step = decide(build.task_log(cancel=build.cancel()), seen(), WAITS)

    assert isinstance(step, Close)
    assert (step.number, step.verdict.state) == (1, State.CANCELLED)


def test_policy_rejects_before_anything_is_asked_of_slurm() -> None:
    step = decide(build.task_log(), seen(refusal="no such account"), WAITS)

    assert isinstance(step, Close)
    assert (step.verdict.state, step.verdict.reason) == (State.REJECTED, "no such account")


def test_a_held_task_waits() -> None:
    assert isinstance(decide(build.task_log(held=True), seen(), WAITS), Wait)


def test_who_won_the_intent_calls_sbatch() -> None:
    assert decide(build.task_log(attempt()), seen(may_submit=True), WAITS) == CallSbatch(1)


def test_an_intent_of_unknown_fate_waits_for_two_good_polls_over_a_minute() -> None:
    log = build.task_log(attempt())
    early = [seen(), seen(absent_polls=1, absent_since_s=0.0), seen(absent_polls=9, absent_since_s=NOW_S - 59)]

    assert all(isinstance(decide(log, view, WAITS), Wait) for view in early)
    step = decide(log, seen(**GONE), WAITS)
    assert isinstance(step, PutFence)
    assert step.reason == "ambiguous"


def test_a_job_found_by_its_name_is_adopted() -> None:
    assert decide(build.task_log(attempt()), seen(lines=(line("PENDING"),)), WAITS) == Adopt(1, "7")


def test_an_accepted_job_that_slurm_forgot_is_fenced() -> None:
    step = decide(build.task_log(attempt(submitted=submitted("accepted", "7"))), seen(**GONE), WAITS)

    assert isinstance(step, PutFence)
    assert step.reason == "unknown"


@pytest.mark.parametrize(("outcome", "expected"), [("transient", CallSbatch), ("limit", CallSbatch)])
def test_a_sure_refusal_is_tried_again_in_the_same_attempt(outcome: str, expected: type) -> None:
    log = build.task_log(attempt(submitted=submitted(outcome)))

    assert decide(log, seen(retry_at_s=NOW_S + 5), WAITS) == Wait(NOW_S + 5)
    assert isinstance(decide(log, seen(retry_at_s=NOW_S), WAITS), expected)


def test_a_permanent_refusal_is_fenced_and_then_rejected_with_slurms_words() -> None:
    step = decide(build.task_log(attempt(submitted=submitted("permanent"))), seen(), WAITS)
    assert step == PutFence(1, "refused_by_slurm", "words")

    fenced = attempt(claim=build.fence("refused_by_slurm", "words"))
    end = decide(build.task_log(fenced), seen(), WAITS)
    assert isinstance(end, Close)
    assert (end.number, end.verdict.state, end.verdict.reason) == (2, State.REJECTED, "words")


def test_a_refusal_goes_before_the_job_that_slurm_lists_of_it() -> None:
    log = build.task_log(attempt(submitted=submitted("permanent")))
    step = decide(log, seen(ended="FAILED"), WAITS)

    assert step == PutFence(1, "refused_by_slurm", "words")


@pytest.mark.parametrize(
    ("ended", "reason"),
    [
        ("CANCELLED by 0", "admin_cancel"),
        ("DEADLINE", "deadline"),
        ("NODE_FAIL", "node_fail"),
        ("COMPLETED", "node_fail"),
        ("FAILED", "node_fail"),
    ],
)
def test_a_job_that_ended_without_a_claim_is_fenced(ended: str, reason: str) -> None:
    step = decide(build.task_log(attempt(submitted=submitted("accepted", "7"))), seen(ended=ended), WAITS)

    assert isinstance(step, PutFence)
    assert step.reason == reason


def test_our_own_scancel_is_not_taken_for_an_admins() -> None:
    log = build.task_log(attempt(submitted=submitted("accepted", "7")))
    step = decide(log, seen(ended="CANCELLED", scancel_at_s=1.0), WAITS)

    assert isinstance(step, PutFence)
    assert step.reason == "node_fail"


def test_the_same_refusal_three_times_rejects_with_its_words() -> None:
    refused = Refused(nonce=build.NONCE, job_id="7", node="n1", check="image", words="no such image")
    attempts = [attempt(k, claim=build.fence("refused_start"), refused=(refused,)) for k in (1, 2, 3)]

    assert isinstance(decide(build.task_log(*attempts[:2]), seen(attempt=2, fenced_since_s=0.0), WAITS), OpenAttempt)
    step = decide(build.task_log(*attempts), seen(attempt=3), WAITS)
    assert isinstance(step, Close)
    assert step.verdict.state is State.REJECTED
    assert "no such image" in step.verdict.reason


@pytest.mark.parametrize("check", ["stopped", "space", "sync"])
def test_a_refusal_that_says_nothing_about_the_task_never_rejects_it(check: str) -> None:
    refused = Refused(nonce=build.NONCE, job_id="7", node="n1", check=check, words="the same")
    attempts = [attempt(k, claim=build.fence("refused_start"), refused=(refused,)) for k in (1, 2, 3)]

    step = decide(build.task_log(*attempts), seen(attempt=3, fenced_since_s=0.0), WAITS)
    assert isinstance(step, OpenAttempt)


@pytest.mark.parametrize(("number", "pause_s"), [(1, 30), (2, 60), (3, 120), (9, 600)])
def test_the_next_attempt_waits_longer_each_time_from_the_fence_on(number: int, pause_s: float) -> None:
    attempts = [attempt(k, claim=build.fence("launch_failed")) for k in range(1, number + 1)]
    log, early = build.task_log(*attempts), {"attempt": number, "since_s": 0.0}

    assert isinstance(decide(log, seen(**early), WAITS), Wait)
    assert decide(log, seen(**early, fenced_since_s=NOW_S - pause_s + 1), WAITS) == Wait(NOW_S + 1)
    assert isinstance(decide(log, seen(**early, fenced_since_s=NOW_S - pause_s), WAITS), OpenAttempt)


def test_a_job_that_slurm_cannot_launch_is_fenced_and_cancelled() -> None:
    held = line("PENDING", "launch failed requeued held")
    step = decide(build.task_log(attempt(submitted=submitted("accepted", "7"))), seen(lines=(held,)), WAITS)

    assert step == PutFence(1, "launch_failed", "Slurm could not launch the job and holds it")


def test_running_without_a_claim_for_long_is_fenced() -> None:
    log = build.task_log(attempt(submitted=submitted("accepted", "7")))
    running = (line("RUNNING"),)

    early = seen(lines=running, running_since_s=NOW_S - 299, running_seen_s=NOW_S)
    assert isinstance(decide(log, early, WAITS), Wait)
    step = decide(log, seen(lines=running, running_since_s=NOW_S - 301, running_seen_s=NOW_S), WAITS)
    assert isinstance(step, PutFence)
    assert step.reason == "no_claim"


def test_running_without_a_claim_is_counted_by_good_polls_alone() -> None:
    log = build.task_log(attempt(submitted=submitted("accepted", "7")))
    running = (line("RUNNING"),)
    once = look(build.observation(), attempt(), Look(running, None, NOW_S - 900), WAITS, 300)
    silent = look(once, attempt(), Look(None, None, NOW_S), WAITS, 300)
    again = look(once, attempt(), Look(running, None, NOW_S), WAITS, 300)

    assert isinstance(decide(log, Seen(silent, NOW_S, lines=running, config=build.config()), WAITS), Wait)
    assert isinstance(decide(log, Seen(again, NOW_S, lines=running, config=build.config()), WAITS), PutFence)


DECLINED = Refused(nonce=build.NONCE, job_id="7", node="n1", check="sync", words="could not be synced")


def test_an_owner_that_refused_to_start_is_noted_and_then_tried_again() -> None:
    late = {"since_s": 0.0, "fenced_since_s": 0.0}
    fresh = build.task_log(attempt(claim=build.claim(), refused=(DECLINED,)))
    noted = build.task_log(attempt(**OWNED, refused=(DECLINED,)))

    assert decide(fresh, seen(**late), WAITS) == PutNote(1, build.claim())
    assert decide(noted, seen(**late), WAITS) == OpenAttempt(2, "attempt 1 never started: could not be synced")


def test_an_owner_that_refused_to_start_never_ran() -> None:
    step = decide(build.task_log(attempt(**OWNED, refused=(DECLINED,)), cancel=build.cancel()), seen(), WAITS)

    assert isinstance(step, Close)
    assert (step.verdict.state, step.verdict.evidence) == (State.CANCELLED, "fence")


def test_a_refusal_of_another_copy_or_beside_an_exit_record_says_nothing_of_the_owner() -> None:
    others = DECLINED.model_copy(update={"nonce": "f" * 32})
    ended = decide(build.task_log(attempt(**OWNED, refused=(DECLINED,), exit=build.exit_record(0))), seen(), WAITS)

    assert isinstance(decide(build.task_log(attempt(**OWNED, refused=(others,))), seen(since_s=0.0), WAITS), Wait)
    assert isinstance(ended, Close)
    assert ended.verdict.state is State.SUCCEEDED


def test_a_task_whose_config_is_gone_waits_long_after_a_fence() -> None:
    log = build.task_log(attempt(claim=build.fence("unknown")))

    assert decide(log, seen(since_s=0.0, config=None), WAITS) == Wait(NOW_S + 60)


def test_a_claim_is_noted_before_anything_else() -> None:
    log = build.task_log(attempt(claim=build.claim()))

    assert decide(log, seen(**OVER), WAITS) == PutNote(1, build.claim())


def test_a_wiped_claim_that_was_noted_counts() -> None:
    log = build.task_log(attempt(noted=build.claim()), cancel=build.cancel())

    assert decide(log, seen(), WAITS) == CancelJobs((("7", NAME),))


def test_a_cancel_of_a_running_task_is_repeated_until_it_is_over() -> None:
    log = build.task_log(attempt(**OWNED), cancel=build.cancel())

    assert isinstance(decide(log, seen(scancel_at_s=NOW_S - 5), WAITS), Wait)
    assert isinstance(decide(log, seen(scancel_at_s=NOW_S - 31), WAITS), CancelJobs)


def test_a_cancel_goes_on_when_the_end_may_be_a_copys() -> None:
    dup = (Dup(nonce=build.NONCE, job_id="7", node="n2"),)
    log = build.task_log(attempt(**OWNED, dups=dup), cancel=build.cancel())

    assert isinstance(decide(log, seen(ended="COMPLETED"), WAITS), CancelJobs)


def test_an_exit_record_closes_the_task() -> None:
    step = decide(build.task_log(attempt(**OWNED, exit=build.exit_record(0))), seen(), WAITS)

    assert isinstance(step, Close)
    assert (step.number, step.verdict.state) == (2, State.SUCCEEDED)


def test_an_exit_record_of_another_nonce_counts_for_nothing() -> None:
    forged = build.exit_record(0, nonce="f" * 32)

    assert isinstance(decide(build.task_log(attempt(**OWNED, exit=forged)), seen(), WAITS), Wait)


def test_a_stopped_job_is_judged_with_slurms_word() -> None:
    stopped = build.exit_record(0, stop_signals=[{"name": "TERM", "uptime_s": 1.0}])
    log = build.task_log(attempt(**OWNED, exit=stopped))

    assert decide(log, seen(), WAITS) == Wait(NOW_S + WAITS.poll_soon_s, needs_poll=True)
    told = decide(log, seen(ended="TIMEOUT"), WAITS)
    silent = decide(log, seen(**GONE), WAITS)
    assert isinstance(told, Close)
    assert isinstance(silent, Close)
    assert (told.verdict.state, silent.verdict.state) == (State.TIMEOUT, State.FAILED)


def test_slurms_end_without_the_beats_is_no_end() -> None:
    assert isinstance(decide(build.task_log(attempt(**OWNED)), seen(ended="NODE_FAIL"), WAITS), Wait)


def test_over_without_an_exit_record_is_closed_by_slurms_word_or_lost() -> None:
    log = build.task_log(attempt(**OWNED))
    named = decide(log, seen(**OVER, ended="NODE_FAIL"), WAITS)
    unnamed = decide(log, seen(**OVER), WAITS)
    dup = (Dup(nonce=build.NONCE, job_id="7", node="n2"),)
    copied = decide(build.task_log(attempt(**OWNED, dups=dup)), seen(**OVER, ended="NODE_FAIL"), WAITS)

    assert isinstance(named, Close)
    assert isinstance(unnamed, Close)
    assert isinstance(copied, Close)
    states = (named.verdict.state, unnamed.verdict.state, copied.verdict.state)
    assert states == (State.NODE_FAIL, State.LOST, State.LOST)


def test_a_rerun_happens_only_where_it_was_asked_for_and_within_its_limit() -> None:
    config = build.config(rerun_on=["node_fail"], rerun_limit=1)
    log = build.task_log(attempt(**OWNED))
    over = {**OVER, "ended": "NODE_FAIL"}

    again = decide(log, seen(**over, config=config), WAITS)
    assert again == OpenAttempt(2, "attempt 1 ended as node_fail", State.NODE_FAIL)
    assert isinstance(decide(log, seen(**OVER, config=config), WAITS), Close)
    assert isinstance(decide(build.task_log(attempt(**OWNED), cancel=build.cancel()), seen(**over), WAITS), Close)
    second = AttemptLog(2, build.submit(2, State.NODE_FAIL), claim=build.claim("8"), noted=build.claim("8"))
    spent = decide(build.task_log(attempt(**OWNED), second), seen(attempt=2, **over, config=config), WAITS)
    assert isinstance(spent, Close)


def test_a_rerun_that_never_started_keeps_the_first_attempts_end() -> None:
    first = attempt(**OWNED)
    second = AttemptLog(2, build.submit(2, State.NODE_FAIL), claim=build.fence("refused_by_slurm", "words"))
    step = decide(TaskLog(build.TASK, (first, second)), seen(attempt=2), WAITS)

    assert isinstance(step, Close)
    assert step.verdict.state is State.NODE_FAIL


def test_a_late_exit_record_corrects_lost_once() -> None:
    ran = attempt(**OWNED, exit=build.exit_record(0))
    lost = build.closed(2, State.LOST)

    step = decide(build.task_log(ran, closed=lost), seen(), WAITS)
    assert isinstance(step, Amend)
    assert step.verdict.state is State.SUCCEEDED
    amended = Amended(verdict=step.verdict, at=build.NOW)
    assert isinstance(decide(build.task_log(ran, closed=lost, amended=amended), seen(), WAITS), Wait)


def test_a_closed_task_stays_closed() -> None:
    log = build.task_log(attempt(claim=JobClaim(**build.claim().model_dump())), closed=build.closed(2, State.FAILED))

    assert isinstance(decide(log, seen(may_submit=True, **GONE), WAITS), Wait)
