"""Makes the text of tasks harmless for a terminal: it cannot move the cursor, change colours or reorder text."""

import codecs
import re

__all__ = ["LogText", "safe_line", "safe_text"]

# ECMA-48: control sequences (CSI), strings (OSC, DCS, SOS, PM, APC) up to their end, and other escapes. A string ends
# where another begins, so that beginnings without an end are not each read up to the end of the text.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x90\x98\x9c-\x9f]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-Z\\^-~]"
)
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_HELD_AT_MOST = 256
_UNFINISHED = re.compile(rf"(?:\x1b|[\x90\x98\x9b\x9d-\x9f])[^\n]{{0,{_HELD_AT_MOST}}}\Z")
_BREAKS = re.compile(r"\r\n|\r(?!\Z)")


def safe_text(text: str) -> str:
    """Remove escape sequences and control characters. Newline and tab stay; a carriage return starts a new line."""
    return _CONTROLS.sub("", _ESCAPES.sub("", _BREAKS.sub("\n", text)))


def safe_line(text: str) -> str:
    """Make text harmless, and put it on one line."""
    return " ".join(safe_text(text).split())


def _find_unfinished(text: str) -> re.Match[str] | None:
    """Find the beginning of a sequence that may end in the next chunk. It is looked for near the end only."""
    blanked = _ESCAPES.sub(lambda found: " " * len(found[0]), text)
    return _UNFINISHED.search(blanked, max(0, len(blanked) - _HELD_AT_MOST - 1))


class LogText:
    """Turns the chunks of a log into text. No character or escape sequence is cut between two chunks."""

    def __init__(self, *, raw: bool = False) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._raw, self._held = raw, ""

    def feed(self, data: bytes, *, last: bool = False) -> str:
        """Take a chunk, and return the text that can be shown now."""
        text = self._held + self._decoder.decode(data, final=last)
        if self._raw:
            return text
        self._held = ""
        unfinished = None if last else _find_unfinished(text)
        if unfinished is not None:
            text, self._held = text[: unfinished.start()], text[unfinished.start() :]
        elif text.endswith("\r") and not last:
            text, self._held = text[:-1], "\r"
        return safe_text(text)
