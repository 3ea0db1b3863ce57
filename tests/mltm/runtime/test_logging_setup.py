import io
import json
from collections.abc import Iterator

import pytest
import structlog

from mltm.runtime.logging_setup import set_up_logging


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def default_logging() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def fail(password: str) -> None:
    raise RuntimeError("planted")


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_an_exception_is_logged_without_the_values_of_variables(stream: io.StringIO) -> None:
    set_up_logging(stream)
    password = "so secret"
    try:
        fail(password)
    except RuntimeError:
        structlog.get_logger().exception("it_failed")

    assert "RuntimeError: planted" in stream.getvalue()
    assert password not in stream.getvalue()


def test_a_program_reads_one_json_object_a_line() -> None:
    stream = io.StringIO()
    set_up_logging(stream)
    structlog.get_logger().info("task_taken", task_id="a\nb")
    structlog.get_logger().warning("poll_waits")

    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["event"], first["task_id"], first["level"]) == ("task_taken", "a\nb", "info")
    assert first["timestamp"].endswith("Z")
    assert (second["event"], second["level"]) == ("poll_waits", "warning")


@pytest.mark.parametrize("is_verbose", [True, False])
def test_details_are_only_logged_if_asked_for(*, is_verbose: bool) -> None:
    stream = io.StringIO()
    set_up_logging(stream, is_verbose=is_verbose)
    structlog.get_logger().debug("detail")

    assert ("detail" in stream.getvalue()) is is_verbose


def test_a_line_is_one_write() -> None:
    class Counted(io.StringIO):
        writes = 0

        def write(self, text: str, /) -> int:
            self.writes += 1
            return super().write(text)

    stream = Counted()
    set_up_logging(stream)
    structlog.get_logger().info("event")

    assert stream.writes == 1
