"""Retry-After, as anybody on the way may send it."""

import pytest

from mltm.wire.retry_policy import parse_retry_after


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None), ("", None), ("7", 7.0), (" 120 ", 120.0), ("\x1c0", 0.0), ("0\x1f", 0.0), ("²", None),
        ("٣", None), ("-5", None), ("1.5", None), ("soon", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_nothing(text: str | None, seconds: float | None) -> None:
    assert parse_retry_after(text) == seconds
