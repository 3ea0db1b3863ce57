import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltm.contract.ids import TaskId, build_uuid7, parse_job_name, parse_task_id, render_job_name


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_an_id_is_a_uuid7_that_keeps_its_time(now_ms: int, noise: bytes) -> None:
    made = uuid.UUID(build_uuid7(now_ms, noise))

    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == now_ms


def test_later_ids_sort_later() -> None:
    assert build_uuid7(1, b"\xff" * 10) < build_uuid7(2, b"\x00" * 10)


@given(st.text(max_size=60))
def test_only_names_of_our_making_are_read_as_ours(name: str) -> None:
    assert parse_job_name(name) is None


@pytest.mark.parametrize("attempt", [1, 9, 10, 99, 100, 9999, 10_000, 999_999_999])
def test_a_job_name_is_read_back(attempt: int) -> None:
    task_id = TaskId("0" * 32)

    assert parse_job_name(render_job_name(task_id, attempt)) == (task_id, attempt)


@pytest.mark.parametrize("text", ["", "1", "z" * 32, "0" * 33, "../" * 8, "0" * 31 + "\n"])
def test_what_is_no_task_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="task id"):
        parse_task_id(text)
