"""Texts that would be a line of their own in a log, or would command a terminal that shows it."""

__all__ = ["LINES"]

_FORGED = '{"event": "forged", "level": "info"}'
_BREAKS = (
    "\n",
    "\r\n",
    "\r",
    "\x0b",
    "\x0c",
    "\x1c",
    "\x1d",
    "\x1e",
    "\x85",
    "\u2028",
    "\u2029",
    "\x00",
    "\x08",
    "%0a",
    "%0d%0a",
    "\\n",
)
_TERMINAL = (
    "\x1b[2J\x1b[H", "\x1b]0;owned\x07", "\x1b[31mERROR\x1b[0m", "\x9b2J", "\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\",
    "\x1bP+q544e\x1b\\", "\x07", "\x1b[1A\x1b[2K", "\x1b[?1049h", "\x1bc",
)  # fmt: skip
LINES: tuple[str, ...] = (
    *(f"ann{text}{_FORGED}" for text in _BREAKS), *(f"{text}{_FORGED}" for text in _TERMINAL),
    f'", "event": "forged", "x": "{_FORGED}', f'\\", {_FORGED}', f"ann\n\n{_FORGED}\n", f"\ufeff{_FORGED}",
)  # fmt: skip
