from datetime import UTC, datetime, timedelta

from mltm.contract.ids import parse_task_id
from mltm.runtime.clock import Clock

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_an_id_of_a_later_time_sorts_behind_and_no_two_are_the_same() -> None:
    earlier, later = Clock(now=lambda: NOW), Clock(now=lambda: NOW + timedelta(milliseconds=1))
    assert earlier.new_id() < later.new_id()
    assert earlier.new_id() != earlier.new_id()
    assert parse_task_id(later.new_id())


def test_a_secret_is_256_random_bits_behind_its_prefix() -> None:
    asked: list[int] = []

    def count(number: int) -> bytes:
        asked.append(number)
        return b"\xff" * number

    assert Clock(token_bytes=count).new_secret("mltm_") == "mltm_" + "_" * 42 + "8"
    assert asked == [32]
    assert Clock().new_secret("") != Clock().new_secret("")


def test_the_time_is_aware_and_the_boot_clock_goes_forward() -> None:
    clock = Clock()
    assert clock.now().utcoffset() == timedelta()
    assert 0 < clock.boot_s() <= clock.boot_s()
