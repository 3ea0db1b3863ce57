import pytest

from mltm.wire.logs import LogChunk, take_new


@pytest.mark.parametrize(
    ("offset", "data", "position", "expected"),
    [
        (0, b"abc", 0, (b"abc", 0, 0)),
        (0, b"abc", 2, (b"c", 2, 0)),
        (0, b"abc", 3, (b"", 3, 0)),
        (0, b"ab", 5, (b"", 5, 0)),
        (9, b"abc", 4, (b"abc", 9, 5)),
        (9, b"", 4, (b"", 9, 5)),
        (7, b"abc", -3, (b"abc", 7, 0)),
    ],
)
def test_new_bytes_are_what_lies_behind_the_position(
    offset: int, data: bytes, position: int, expected: tuple[bytes, int, int]
) -> None:
    new = take_new(LogChunk(data, offset, 99, final=False), position)
    assert (new.data, new.offset, new.skipped) == expected
