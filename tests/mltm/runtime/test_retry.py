import secrets

import pytest

from agent.errors import GatewayAwayError, RevokedError, SettingsError
from agent.uplink.client import GatewayRefusedError
from agent.uplink.reporter import REVOKED_WAIT_S, choose_pause_s
from mltm.runtime.clock import Clock
from mltm.runtime.retry import Backoff

LONGEST = Clock(token_bytes=lambda count: b"\xff" * count)
SHORTEST = Clock(token_bytes=bytes)


def test_the_ceiling_doubles_up_to_a_minute_and_starts_again_after_a_success() -> None:
    backoff = Backoff(LONGEST)
    assert [round(backoff.next_s()) for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    backoff.reset()
    assert round(backoff.next_s()) == 1


def test_many_failures_overflow_nothing() -> None:
    backoff = Backoff(LONGEST)
    assert max(backoff.next_s() for _ in range(2000)) <= 60


def test_agents_do_not_come_back_at_once() -> None:
    waits = {Backoff(Clock(token_bytes=secrets.token_bytes), first_s=60).next_s() for _ in range(20)}
    assert len(waits) > 10
    assert all(0 <= wait <= 60 for wait in waits)


@pytest.mark.parametrize(
    ("asked_s", "wait_s"), [(None, 0), (0.0, 0), (7.0, 7), (90.0, 90), (86_400.0, 3600), (-5.0, 0)]
)
def test_retry_after_is_the_least_and_an_hour_the_most(asked_s: float | None, wait_s: float) -> None:
    assert Backoff(SHORTEST).next_s(asked_s) == wait_s


@pytest.mark.parametrize(
    "error", [RevokedError("revoked"), SettingsError("no file"), GatewayRefusedError("no", status=400)]
)
def test_what_only_a_person_can_mend_is_tried_slowly(
    error: RevokedError | SettingsError | GatewayRefusedError,
) -> None:
    assert choose_pause_s(error, Backoff(SHORTEST)) == REVOKED_WAIT_S


def test_a_gateway_that_is_away_is_tried_with_jitter() -> None:
    assert choose_pause_s(GatewayAwayError("away"), Backoff(SHORTEST)) == 0
    assert choose_pause_s(GatewayAwayError("away", retry_after_s=3), Backoff(SHORTEST)) == 3
