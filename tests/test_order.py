"""Long tests start first, on all workers, and no test is left out or run twice."""

from hypothesis import example, given
from hypothesis import strategies as st

from tests.order import deal

LONG_S = 100


@example([100, 101, 102, 103, 104], 2)
@given(st.lists(st.integers(0, 200), max_size=60), st.integers(1, 5))
def test_each_share_begins_with_its_part_of_the_long_tests(times: list[int], workers: int) -> None:
    items = list(enumerate(times))
    dealt = deal(items, lambda item: item[1], long_s=LONG_S, workers=workers)
    assert sorted(dealt) == items
    assert [item for item in dealt if item[1] < LONG_S] == [item for item in items if item[1] < LONG_S]

    counts = []
    for worker in range(workers):  # as xdist's worksteal shares them out
        share = (len(items) if worker == workers - 1 else len(dealt) // (workers - worker)) if dealt else 0
        own, dealt = dealt[:share], dealt[share:]
        long = [time for _, time in own if time >= LONG_S]
        assert [time for _, time in own[: len(long)]] == sorted(long, reverse=True)
        counts.append(len(long))
    assert max(counts) - min(counts) <= 1
