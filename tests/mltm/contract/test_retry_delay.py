import pytest

from mltm.contract.retry_delay import exponential_delay_s


@pytest.mark.parametrize(
    ("failures", "first_s", "max_s", "delay_s"),
    [
        (0, 1, 60, 1), (1, 1, 60, 2), (5, 1, 60, 32), (6, 1, 60, 60), (7, 1, 60, 60),
        (0, 0.5, 10, 0.5), (3, 0.5, 10, 4), (5, 0.5, 10, 10),
        (0, 120, 60, 60), (20, 0.2, 3600, 3600),
    ],
)  # fmt: skip
def test_the_delay_doubles_with_each_failure_up_to_its_limit(
    failures: int, first_s: float, max_s: float, delay_s: float
) -> None:
    assert exponential_delay_s(failures, first_s, max_s) == delay_s


@pytest.mark.parametrize("failures", [64, 1024, 10**9])
def test_any_number_of_failures_has_a_delay(failures: int) -> None:
    assert exponential_delay_s(failures, 0.5, 10) == 10
