"""Fault 3.17: cleaning a log for a terminal took 3 s for 16,000 beginnings of a control string, and then grew fourfold.

A user who looks at a log, whatever a script has printed, expects it at once. Each text here has some 300,000
characters, which the old cleaning read for minutes; the limit leaves room for a machine that is busy.
"""

import time
from collections.abc import Callable

import pytest

from mltm.cli.plain_text import LogText, safe_line, safe_text

N = 300_000
LIMIT_S = 8.0
TEXTS = {
    "3.17: U+0090": "\x90" * N,
    "3.17: all beginnings of strings": "\x90\x98\x9d\x9e\x9f" * (N // 5),
    "3.17: the beginnings with ESC": "\x1b]\x1bP\x1bX\x1b^\x1b_" * (N // 10),
    "3.17: with text between": ("\x9d" + "a" * 9) * (N // 10),
    "3.17: with other controls between": "\x90\x01\x9d\x85" * (N // 4),
    "3.17: one beginning, then all text": "\x90" + "a" * N,
    "3.17: CSI without an end": "\x9b" * N,
    "3.17: CSI with parameters": "\x1b[0;1;" * (N // 6),
    "3.17: one CSI with many parameters": "\x1b[" + "0" * N,
    "3.17: ESC and spaces": "\x1b  " * (N // 3),
    "3.17: returns": "\r" * N,
    "3.17: a beginning in each line": "\x90\n" * (N // 2),
}
WAYS: dict[str, Callable[[str], object]] = {
    "text": safe_text,
    "line": safe_line,
    "log": lambda text: LogText().feed(text.encode()),
    "log, to its end": lambda text: LogText().feed(text.encode(), last=True),
    "log, in pieces": lambda text: _feed_pieces(text.encode()),
}


def _feed_pieces(data: bytes) -> str:
    log = LogText()
    return "".join(log.feed(data[at : at + 4096]) for at in range(0, len(data), 4096)) + log.feed(b"", last=True)


@pytest.mark.parametrize("clean", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_time_grows_with_the_length(text: str, clean: Callable[[str], object]) -> None:
    begun = time.process_time()
    clean(text)
    assert time.process_time() - begun < LIMIT_S


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a\x90secret\x9cb", "ab"),
        ("a\x1b]0;title\x07b", "ab"),
        ("a\x1b]0;title\x1b\\b", "ab"),
        ("a\x90b", "ab"),
        ("a\x90b\x9dc\x9cd", "abd"),
        ("a\x90\x90\x90x\x9cb", "ab"),
        ("a\x9b31mb\x9b", "ab"),
    ],
)
def test_what_is_removed_stays_the_same(text: str, clean: str) -> None:
    assert safe_text(text) == clean
    assert not set(clean) & set("\x1b\x90\x9b\x9d")
