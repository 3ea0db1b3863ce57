"""What a stream expects of its tasks: a second start only where a fault lost the job and the user allows a rerun."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from chaos.load.stream import Stream

TASK = "a" * 32


@pytest.mark.parametrize(
    ("reruns", "faults", "max_starts"),
    [
        (1, [], 1),
        (0, [("lost", "node_fail")], 1),
        (1, [("lost", "node_fail")], 2),
        (1, [("lost",), ("lost",)], 2),
        (2, [("lost",), ("lost",)], 3),
        (1, [("failed",)], 1),
    ],
)
@pytest.mark.parametrize("is_struck_first", [False, True])
def test_only_a_fault_that_may_lose_the_job_allows_another_start(
    tmp_path: Path, reruns: int, faults: list[tuple[str, ...]], max_starts: int, is_struck_first: bool
) -> None:
    house = SimpleNamespace(folder=tmp_path)
    stream = Stream(house, 1, kinds=(), clients=0, timeout_s=1)  # type: ignore[arg-type] # nothing is asked of it
    if not is_struck_first:
        stream.allow(TASK, "succeeded", reruns=reruns)
    for ends in faults:
        stream.allow(TASK, *ends)
    if is_struck_first:  # before its client knew its id
        stream.allow(TASK, "succeeded", reruns=reruns)

    assert stream.expected[TASK].max_starts == max_starts
    assert stream.expected[TASK].ends == {"succeeded", *(end for ends in faults for end in ends)}
