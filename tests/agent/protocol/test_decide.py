"""What is decided before a job owns an attempt, case by case; the whole world is in test_decide_world.py."""

import pytest

from agent.protocol.actions import Adopt, Close, OpenAttempt, PrepareSubmission, PutFence, PutNote, Wait
from agent.protocol.decide import Situation, decide
from agent.protocol.observation import Reading, update_observation
from mltm.contract.journal_records import Refused
from mltm.contract.states import State
from tests.agent.protocol import build
from tests.agent.protocol.views import GONE, NOW_S, OWNED, WAITS, attempt, line, seen, submitted


def test_an_untouched_task_gets_its_first_attempt() -> None:
    assert decide(build.task_journal(), seen(), WAITS) == OpenAttempt(1)


def test_an_untouched_task_is_cancelled_by_closing_it() -> None:
    step = decide(build.task_journal(cancel=build.cancel()), seen(), WAITS)

    assert isinstance(step, Close)
    assert (step.number, step.verdict.state) == (1, State.CANCELLED)


def test_policy_rejects_before_anything_is_asked_of_slurm() -> None:
    step = decide(build.task_journal(), seen(refusal="no such account"), WAITS)

    assert isinstance(step, Close)
    assert (step.verdict.state, step.verdict.reason) == (State.REJECTED, "no such account")


def test_a_held_task_waits() -> None:
    assert isinstance(decide(build.task_journal(held=True), seen(), WAITS), Wait)


@pytest.mark.parametrize("outcome", ["transient", "limit", None])
def test_a_task_that_is_held_before_slurm_has_taken_it_is_not_handed_over(outcome: str | None) -> None:
    journal = build.task_journal(attempt(submitted=submitted(outcome) if outcome else None), held=True)

    assert isinstance(decide(journal, seen(may_submit=outcome is None), WAITS), Wait)


def test_who_won_the_intent_calls_sbatch() -> None:
    assert decide(build.task_journal(attempt()), seen(may_submit=True), WAITS) == PrepareSubmission(1)


def test_an_intent_of_unknown_fate_waits_for_two_good_polls_over_a_minute() -> None:
    journal = build.task_journal(attempt())
    early = [seen(), seen(absent_polls=1, absent_since_s=0.0), seen(absent_polls=9, absent_since_s=NOW_S - 59)]

    assert all(isinstance(decide(journal, view, WAITS), Wait) for view in early)
    step = decide(journal, seen(**GONE), WAITS)
    assert isinstance(step, PutFence)
    assert step.reason == "ambiguous"


def test_an_sbatch_that_gave_up_is_waited_for_longer_than_one_that_nobody_can_have_heard() -> None:
    unanswered = build.task_journal(attempt(submitted=submitted("ambiguous")))
    late = {"absent_polls": 9, "absent_since_s": NOW_S - WAITS.late_accept_s - 1}

    assert isinstance(decide(unanswered, seen(**GONE), WAITS), Wait)
    assert isinstance(decide(unanswered, seen(**late), WAITS), PutFence)
    assert isinstance(decide(unanswered, seen(**GONE), WAITS.model_copy(update={"late_accept_s": 0})), PutFence)


def test_a_job_found_by_its_name_is_adopted() -> None:
    assert decide(build.task_journal(attempt()), seen(lines=(line("PENDING"),)), WAITS) == Adopt(1, "7")


def test_an_accepted_job_that_slurm_forgot_is_fenced() -> None:
    step = decide(build.task_journal(attempt(submitted=submitted("accepted", "7"))), seen(**GONE), WAITS)

    assert isinstance(step, PutFence)
    assert step.reason == "unknown"


@pytest.mark.parametrize(("outcome", "expected"), [("transient", PrepareSubmission), ("limit", PrepareSubmission)])
def test_a_sure_refusal_is_tried_again_in_the_same_attempt(outcome: str, expected: type) -> None:
    journal = build.task_journal(attempt(submitted=submitted(outcome)))

    assert decide(journal, seen(retry_at_s=NOW_S + 5), WAITS) == Wait(NOW_S + 5)
    assert isinstance(decide(journal, seen(retry_at_s=NOW_S), WAITS), expected)


def test_a_permanent_refusal_is_fenced_and_then_rejected_with_slurms_words() -> None:
    step = decide(build.task_journal(attempt(submitted=submitted("permanent"))), seen(), WAITS)
    assert step == PutFence(1, "refused_by_slurm", "message")

    fenced = attempt(claim=build.fence("refused_by_slurm", "message"))
    end = decide(build.task_journal(fenced), seen(), WAITS)
    assert isinstance(end, Close)
    assert (end.number, end.verdict.state, end.verdict.reason) == (2, State.REJECTED, "message")


def test_a_refusal_goes_before_the_job_that_slurm_lists_of_it() -> None:
    journal = build.task_journal(attempt(submitted=submitted("permanent")))
    step = decide(journal, seen(ended="FAILED"), WAITS)

    assert step == PutFence(1, "refused_by_slurm", "message")


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
    step = decide(build.task_journal(attempt(submitted=submitted("accepted", "7"))), seen(ended=ended), WAITS)

    assert isinstance(step, PutFence)
    assert step.reason == reason


def test_our_own_scancel_is_not_taken_for_an_admins() -> None:
    journal = build.task_journal(attempt(submitted=submitted("accepted", "7")))
    step = decide(journal, seen(ended="CANCELLED", scancel_at_s=1.0), WAITS)

    assert isinstance(step, PutFence)
    assert step.reason == "node_fail"


def test_the_same_refusal_three_times_rejects_with_its_words() -> None:
    refused = Refused(nonce=build.NONCE, job_id="7", node="n1", check="image", message="no such image")
    attempts = [attempt(k, claim=build.fence("refused_start"), refused=(refused,)) for k in (1, 2, 3)]

    assert isinstance(
        decide(build.task_journal(*attempts[:2]), seen(attempt=2, fenced_since_s=0.0), WAITS), OpenAttempt
    )
    step = decide(build.task_journal(*attempts), seen(attempt=3), WAITS)
    assert isinstance(step, Close)
    assert step.verdict.state is State.REJECTED
    assert "no such image" in step.verdict.reason


@pytest.mark.parametrize("check", ["stopped", "space", "sync"])
def test_a_refusal_that_says_nothing_about_the_task_never_rejects_it(check: str) -> None:
    refused = Refused(nonce=build.NONCE, job_id="7", node="n1", check=check, message="the same")
    attempts = [attempt(k, claim=build.fence("refused_start"), refused=(refused,)) for k in (1, 2, 3)]

    step = decide(build.task_journal(*attempts), seen(attempt=3, fenced_since_s=0.0), WAITS)
    assert isinstance(step, OpenAttempt)


@pytest.mark.parametrize(("number", "pause_s"), [(1, 30), (2, 60), (3, 120), (9, 600)])
def test_the_next_attempt_waits_longer_each_time_from_the_fence_on(number: int, pause_s: float) -> None:
    attempts = [attempt(k, claim=build.fence("launch_failed")) for k in range(1, number + 1)]
    journal, early = build.task_journal(*attempts), {"attempt": number, "since_s": 0.0}

    assert isinstance(decide(journal, seen(**early), WAITS), Wait)
    assert decide(journal, seen(**early, fenced_since_s=NOW_S - pause_s + 1), WAITS) == Wait(NOW_S + 1)
    assert isinstance(decide(journal, seen(**early, fenced_since_s=NOW_S - pause_s), WAITS), OpenAttempt)


def test_a_job_that_slurm_cannot_launch_is_fenced_and_cancelled() -> None:
    held = line("PENDING", "launch failed requeued held")
    step = decide(build.task_journal(attempt(submitted=submitted("accepted", "7"))), seen(lines=(held,)), WAITS)

    assert step == PutFence(1, "launch_failed", "Slurm could not launch the job and holds it")


def test_running_without_a_claim_for_long_is_fenced() -> None:
    journal = build.task_journal(attempt(submitted=submitted("accepted", "7")))
    running = (line("RUNNING"),)

    early = seen(lines=running, running_since_s=NOW_S - 299, running_seen_s=NOW_S)
    assert isinstance(decide(journal, early, WAITS), Wait)
    step = decide(journal, seen(lines=running, running_since_s=NOW_S - 301, running_seen_s=NOW_S), WAITS)
    assert isinstance(step, PutFence)
    assert step.reason == "no_claim"


def test_running_without_a_claim_is_counted_by_good_polls_alone() -> None:
    journal = build.task_journal(attempt(submitted=submitted("accepted", "7")))
    running = (line("RUNNING"),)
    once = update_observation(build.observation(), attempt(), Reading(running, None, NOW_S - 900), WAITS, 300)
    silent = update_observation(once, attempt(), Reading(None, None, NOW_S), WAITS, 300)
    again = update_observation(once, attempt(), Reading(running, None, NOW_S), WAITS, 300)

    assert isinstance(decide(journal, Situation(silent, NOW_S, lines=running, config=build.config()), WAITS), Wait)
    assert isinstance(decide(journal, Situation(again, NOW_S, lines=running, config=build.config()), WAITS), PutFence)


DECLINED = Refused(nonce=build.NONCE, job_id="7", node="n1", check="sync", message="could not be synced")


def test_an_owner_that_refused_to_start_is_noted_and_then_tried_again() -> None:
    late = {"since_s": 0.0, "fenced_since_s": 0.0}
    fresh = build.task_journal(attempt(claim=build.claim(), refused=(DECLINED,)))
    noted = build.task_journal(attempt(**OWNED, refused=(DECLINED,)))

    assert decide(fresh, seen(**late), WAITS) == PutNote(1, build.claim())
    assert decide(noted, seen(**late), WAITS) == OpenAttempt(2, "attempt 1 never started: could not be synced")


def test_an_owner_that_refused_to_start_never_ran() -> None:
    step = decide(build.task_journal(attempt(**OWNED, refused=(DECLINED,)), cancel=build.cancel()), seen(), WAITS)

    assert isinstance(step, Close)
    assert (step.verdict.state, step.verdict.evidence) == (State.CANCELLED, "fence")


def test_a_refusal_of_another_copy_or_beside_an_exit_record_says_nothing_of_the_owner() -> None:
    others = DECLINED.model_copy(update={"nonce": "f" * 32})
    ended = decide(build.task_journal(attempt(**OWNED, refused=(DECLINED,), exit=build.exit_record(0))), seen(), WAITS)

    assert isinstance(decide(build.task_journal(attempt(**OWNED, refused=(others,))), seen(since_s=0.0), WAITS), Wait)
    assert isinstance(ended, Close)
    assert ended.verdict.state is State.SUCCEEDED


def test_a_task_whose_config_is_gone_waits_long_after_a_fence() -> None:
    journal = build.task_journal(attempt(claim=build.fence("unknown")))

    assert decide(journal, seen(since_s=0.0, config=None), WAITS) == Wait(NOW_S + 60)
