"""How often Slurm is asked, by a clock that only the test moves."""

import threading
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.settings import Bucket
from agent.slurm.rate_limits import SLOW_FOR_S, Lane, TokenBucket


@dataclass
class FakeClock:
    at_s: float = 1000.0

    def __call__(self) -> float:
        return self.at_s


def take_all(bucket: TokenBucket) -> int:
    """How many calls are let through now."""
    return next(count for count in range(10_000) if not bucket.take())


def build(clock: FakeClock, *, burst: int = 10, per_second: float = 0.2) -> TokenBucket:
    return TokenBucket(Bucket(burst=burst, per_second=per_second), clock)


def test_a_burst_is_let_through_and_no_more() -> None:
    assert take_all(build(FakeClock())) == 10


def test_a_call_that_leaves_some_to_spare_waits_for_them() -> None:
    clock = FakeClock()
    bucket = build(clock, burst=2)

    assert [bucket.take(spare=1), bucket.take(spare=1), bucket.take()] == [True, False, True]
    clock.at_s += 5
    assert [bucket.take(spare=1), bucket.take()] == [False, True]


@pytest.mark.parametrize(("passed_s", "tokens"), [(0, 0), (4.9, 0), (5, 1), (26, 5), (50, 10), (1e6, 10)])
def test_a_bucket_fills_at_its_rate_up_to_its_burst(passed_s: float, tokens: int) -> None:
    clock = FakeClock()
    bucket = build(clock)
    take_all(bucket)
    clock.at_s += passed_s
    assert take_all(bucket) == tokens


def test_a_rate_limit_halves_burst_and_rate_for_ten_minutes() -> None:
    clock = FakeClock()
    bucket = build(clock)
    bucket.slow_down()
    assert take_all(bucket) == 5
    clock.at_s += 25
    assert take_all(bucket) == 2  # 2.5 by half the rate
    clock.at_s += SLOW_FOR_S - 25 - 1
    assert take_all(bucket) == 5
    clock.at_s += 1 + 1000
    assert take_all(bucket) == 10


def test_a_time_that_is_half_slow_fills_by_both_rates() -> None:
    clock = FakeClock()
    bucket = build(clock)
    bucket.slow_down()
    clock.at_s += SLOW_FOR_S - 10
    take_all(bucket)
    clock.at_s += 10 + 15  # 1 slow token and 3 fast ones
    assert take_all(bucket) == 4


def test_a_second_rate_limit_prolongs_the_first_and_does_not_halve_again() -> None:
    clock = FakeClock()
    bucket = build(clock)
    bucket.slow_down()
    clock.at_s += SLOW_FOR_S / 2
    bucket.slow_down()
    clock.at_s += SLOW_FOR_S - 1
    assert take_all(bucket) == 5


def test_a_bucket_of_one_still_lets_calls_through_when_slowed() -> None:
    clock = FakeClock()
    bucket = build(clock, burst=1, per_second=1)
    bucket.slow_down()
    assert take_all(bucket) == 1
    clock.at_s += 2
    assert take_all(bucket) == 1


@given(st.lists(st.tuples(st.sampled_from(["take", "slow"]), st.floats(-5, 400)), max_size=30))
def test_no_history_lets_more_through_than_burst_and_rate(history: list[tuple[str, float]]) -> None:
    clock = FakeClock()
    bucket = build(clock)
    taken = 0
    latest_s = began_s = clock.at_s
    for what, passed_s in history:
        clock.at_s += passed_s  # a clock that goes back gives nothing
        latest_s = max(latest_s, clock.at_s)
        if what == "slow":
            bucket.slow_down()
        else:
            taken += take_all(bucket)
        assert taken <= 10 + 0.2 * (latest_s - began_s) + 1e-6


def test_a_lane_without_a_token_starts_nothing() -> None:
    lane = Lane("test", build(FakeClock(), burst=1), 1)
    first, second = lane.start(lambda: 1), lane.start(lambda: 2)
    assert first is not None
    assert (first.result(10), second) == (1, None)
    lane.close()


def test_a_call_that_hangs_keeps_no_other_lane_waiting() -> None:
    clock, hanging = FakeClock(), threading.Event()
    slow, quick = Lane("slow", build(clock), 1), Lane("quick", build(clock), 1)
    held = slow.start(lambda: hanging.wait(20))
    asked = quick.start(lambda: "answer")
    assert asked is not None
    assert asked.result(10) == "answer"
    assert held is not None
    assert not held.done()
    hanging.set()
    slow.close()
    quick.close()


def test_a_lane_that_closes_drops_what_has_not_begun() -> None:
    lane, begun, hanging = Lane("test", build(FakeClock()), 1), threading.Event(), threading.Event()

    def call() -> bool:
        begun.set()
        return hanging.wait(20)

    first, second = lane.start(call), lane.start(call)
    assert begun.wait(10)
    closing = threading.Thread(target=lane.close)
    closing.start()
    assert second is not None
    while not second.cancelled():
        threading.Event().wait(0.01)
    hanging.set()
    closing.join(10)
    assert first is not None
    assert first.result(10) is True
