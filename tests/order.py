"""In which order tests are given to the workers that run side by side."""

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def deal(items: Sequence[Item], may_take_s: Callable[[Item], float], *, long_s: float, workers: int) -> list[Item]:
    """Put long tests first in each worker's share, the longest before the others; short ones keep their order.

    `--dist worksteal` gives each worker a consecutive share of the list, the first ones the smaller shares, and who is
    done takes from the end of another's: a test of minutes that came last would run alone.
    """
    long = sorted((each for each in items if may_take_s(each) >= long_s), key=may_take_s, reverse=True)
    short = [each for each in items if may_take_s(each) < long_s]
    dealt: list[Item] = []
    for worker in range(workers):
        own = long[workers - 1 - worker :: workers]
        rest = (len(items) + worker) // workers - len(own)
        dealt += own + short[:rest]
        short = short[rest:]
    return dealt
