"""Prints rows for an operator. Nothing is cut: a command needs ids whole, which a table of rich cuts to the screen."""

import json
import sys
from collections.abc import Mapping, Sequence

__all__ = ["print_rows"]


def print_rows(rows: Sequence[Mapping[str, object]], *, as_json: bool) -> None:
    """Print rows of equal keys to stdout: as one JSON document, or in columns below their names."""
    if as_json:
        _print(json.dumps(rows, default=str))
        return
    if not rows:
        _print("none")
        return
    cells = [[_show(name) for name in rows[0]], *([_show(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        _print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _show(value: object) -> str:
    """On one line, and harmless for a terminal."""
    return "".join(one if one.isprintable() else " " for one in ("" if value is None else str(value)))


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
