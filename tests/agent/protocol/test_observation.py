from dataclasses import replace

import pytest

from agent.protocol.journal import AttemptJournal
from agent.protocol.observation import (
    Observation,
    Reading,
    apply_accounting,
    is_over,
    is_slurm_over,
    update_observation,
)
from agent.settings import Waits
from agent.slurm.values import AccountingLine, JobLine
from mltm.contract.ids import JobId
from mltm.contract.journal_records import Dup
from tests.agent.protocol import build

WAITS = Waits()
UNOWNED = AttemptJournal(1, build.submit(1))
OWNED = AttemptJournal(1, build.submit(1), claim=build.claim("7"))
COPIED = replace(OWNED, dups=(Dup(nonce="b" * 32, job_id="7", node="n2"),))


def line(state: str, job_id: str = "7", limit_s: int | None = 600) -> JobLine:
    return JobLine(JobId(job_id), state, "name", time_limit_s=limit_s)


def watch(attempt: AttemptJournal, *looks: Reading, min_job_age_s: float = 300) -> Observation:
    seen = build.observation()
    for one in looks:
        seen = update_observation(seen, attempt, one, WAITS, min_job_age_s)
    return seen


def test_a_failed_poll_counts_for_nothing() -> None:
    seen = watch(OWNED, *(Reading(None, 1, now_s) for now_s in range(0, 10_000, 30)))

    assert (seen.absent_polls, seen.ended) == (0, None)
    assert not is_over(seen, WAITS, 10_000)


def test_not_listed_in_three_good_polls_over_long_enough_is_slurms_over() -> None:
    looks = [Reading((), 1, 0.0), Reading((), 1, 150.0), Reading((), 1, 299.0)]

    assert not is_slurm_over(watch(OWNED, *looks), OWNED, WAITS, 300, 299.0)
    assert is_slurm_over(watch(OWNED, *looks), OWNED, WAITS, 300, 301.0)
    assert not is_slurm_over(watch(OWNED, *looks), OWNED, WAITS, 900, 301.0)
    assert not is_slurm_over(watch(OWNED, *looks[:2]), OWNED, WAITS, 300, 1000.0)


def test_a_fence_is_dated_by_the_first_look_at_it() -> None:
    fenced = AttemptJournal(1, build.submit(1), claim=build.fence())
    seen = watch(fenced, Reading(None, None, 50.0), Reading((), None, 80.0))

    assert seen.fenced_since_s == 50.0
    assert watch(UNOWNED, Reading((), None, 50.0)).fenced_since_s is None


def test_seen_again_starts_the_count_anew() -> None:
    seen = watch(OWNED, Reading((), 1, 0.0), Reading((line("RUNNING"),), 1, 30.0), Reading((), 1, 60.0))

    assert (seen.absent_polls, seen.absent_since_s) == (1, 60.0)


def test_a_foreign_job_of_the_same_name_is_not_the_owner() -> None:
    seen = watch(OWNED, Reading((line("COMPLETED", "8"),), 1, 0.0))

    assert (seen.ended, seen.absent_polls) == (None, 1)


def test_over_needs_slurm_and_a_beat_that_stood_still_and_another_look() -> None:
    ended = (line("NODE_FAIL"),)
    looks = [Reading(ended, 1, 0.0), Reading(ended, 1, 299.0)]

    assert watch(OWNED, *looks).over_since_s is None
    still = watch(OWNED, *looks, Reading(None, 1, 301.0))
    assert still.over_since_s == 301.0
    assert not is_over(still, WAITS, 420.0)
    assert is_over(still, WAITS, 422.0)


@pytest.mark.parametrize(("attempt", "beat_ns"), [(COPIED, 1), (COPIED, None), (OWNED, None)])
def test_an_end_that_may_be_a_copys_or_that_no_beat_bears_out_is_none_until_slurm_lists_it_no_more(
    attempt: AttemptJournal, beat_ns: int | None
) -> None:
    ended = [Reading((line("COMPLETED"),), beat_ns, now_s) for now_s in (0.0, 301.0, 600.0)]
    gone = [Reading((), beat_ns, now_s) for now_s in (630.0, 660.0, 930.0)]

    assert watch(attempt, *ended).over_since_s is None
    assert watch(attempt, *ended, *gone[:2]).over_since_s is None
    assert watch(attempt, *ended, *gone).over_since_s == 930.0


def test_a_beat_that_goes_on_keeps_it_alive_whatever_slurm_says() -> None:
    looks = [Reading((line("NODE_FAIL"),), beat, beat * 60.0) for beat in range(60)]

    assert watch(OWNED, *looks).over_since_s is None


def test_a_beat_that_starts_again_takes_the_suspicion_back() -> None:
    ended = (line("NODE_FAIL"),)
    seen = watch(OWNED, Reading(ended, 1, 0.0), Reading(ended, 1, 301.0), Reading(ended, 2, 302.0))

    assert seen.over_since_s is None


def test_counts_of_the_unowned_attempt_do_not_carry_over_to_its_owner() -> None:
    seen = watch(UNOWNED, Reading((), None, 0.0), Reading((), None, 400.0))
    seen = update_observation(seen, OWNED, Reading(None, 1, 401.0), WAITS, 300)

    assert (seen.absent_polls, seen.ended, seen.beat_since_s) == (0, None, 401.0)


def test_a_job_that_runs_again_has_not_ended() -> None:
    seen = watch(UNOWNED, Reading((line("NODE_FAIL"),), None, 0.0), Reading((line("PENDING"),), None, 30.0))

    assert seen.ended is None


def test_an_unknown_state_ends_nothing() -> None:
    assert watch(OWNED, Reading((line("BRAND_NEW_STATE"),), 1, 0.0)).ended is None


def test_running_without_a_claim_is_counted_from_its_first_sight() -> None:
    seen = watch(UNOWNED, Reading((line("RUNNING"),), None, 5.0), Reading((line("RUNNING"),), None, 35.0))

    assert seen.running_since_s == 5.0


@pytest.mark.parametrize(("job_id", "expected"), [("7", "TIMEOUT"), ("8", None)])
def test_accounting_speaks_only_of_the_owners_job(job_id: str, expected: str | None) -> None:
    seen = watch(OWNED, Reading((), 1, 0.0))

    assert apply_accounting(seen, OWNED, [AccountingLine(JobId(job_id), "TIMEOUT", "name")]).ended == expected


def test_the_time_limit_is_kept_when_the_job_is_gone() -> None:
    seen = watch(OWNED, Reading((line("RUNNING"),), 1, 0.0), Reading((), 1, 30.0))

    assert seen.time_limit_s == 600


def test_a_job_that_slurm_has_put_back_names_no_end_of_the_run_that_left_its_record() -> None:
    ended = replace(OWNED, exit=build.exit_record(143))
    looks = [Reading((line("PENDING"),), 1, now_s) for now_s in (0.0, 61.0)]

    assert (watch(ended, *looks).absent_polls, watch(ended, *looks).absent_since_s) == (2, 0.0)
    assert watch(OWNED, *looks).absent_polls == 0


def test_a_poll_from_before_the_start_hides_no_end() -> None:
    ended = replace(OWNED, exit=build.exit_record(143))

    seen = watch(ended, Reading((line("PENDING"),), 1, 0.0), Reading((line("CANCELLED"),), 1, 30.0))

    assert (seen.absent_polls, seen.ended) == (0, "CANCELLED")
