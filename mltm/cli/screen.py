"""Prints to the screen: answers to stdout, progress and errors to stderr."""

import json
import signal
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mltm.cli.plain_text import safe_line
from mltm.contract.problems import Problem
from mltm.contract.user_api import TaskAnswer

__all__ = [
    "is_agreed", "print_answer", "print_error", "print_json", "print_line", "print_note", "print_table",
    "render_change", "render_size",
]  # fmt: skip


def print_line(text: str = "") -> None:
    """Print a line of the answer."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_note(text: str, *, indent: str = "") -> None:
    """Print a line to stderr, for people."""
    sys.stderr.write(indent + safe_line(text) + "\n")
    sys.stderr.flush()


def print_answer(answer: BaseModel, message: str, *, as_json: bool) -> int:
    """Print the answer as JSON, or `message` to stderr."""
    if as_json:
        print_json(answer)
    else:
        print_note(message)
    return 0


def print_json(value: BaseModel | dict[str, object]) -> None:
    """Print one JSON document on one line. It is ASCII, so that nothing in it can act on a terminal."""
    fields = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    print_line(json.dumps(fields))


def print_error(problem: Problem, *, as_json: bool) -> None:
    """Print to stderr what is wrong, each wrong field, and what to do."""
    if as_json:
        sys.stderr.write(problem.model_dump_json() + "\n")
        return
    print_note(f"mltm: {problem.detail or problem.title}")
    for field in problem.fields:
        print_note(str(field), indent="  ")
    if problem.next_step:
        print_note(problem.next_step, indent="  ")


def is_agreed(question: str) -> bool:
    """Ask the person at the terminal. Ctrl-C ends the question at once, also below asyncio, which would wait for it."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return sys.stdin.readline().strip().lower() in {"y", "yes"}
    finally:
        signal.signal(signal.SIGINT, before)


_MIN_TABLE_COLUMNS = 60  # a narrower table would cut an id, which is copied whole


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows: on a terminal that is wide enough as a table, elsewhere with tabs between the cells."""
    cells = [[safe_line(cell) for cell in row] for row in rows]
    console = Console(markup=False, highlight=False)
    if not sys.stdout.isatty() or console.width < _MIN_TABLE_COLUMNS:
        for row in cells:
            print_line("\t".join(row))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in head:
        table.add_column(name, overflow="fold", min_width=32 if name == "TASK" else None)  # an id is copied whole
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def render_change(task: TaskAnswer, now: datetime) -> str:
    """Render a task's state on one line that begins with the time of day."""
    last = task.attempts[-1] if task.attempts else None
    parts = [f"{now.astimezone():%H:%M:%S}", task.state.value]
    if last is not None:
        parts += [f"on {last.node}"] if last.node else []
        parts += [f"(job {last.job_id})"] if last.job_id else []
        parts += [f"attempt {last.attempt}"] if last.attempt > 1 else []
        parts += [f"exit code {last.exit_code}"] if task.final and last.exit_code else []
    message = task.reason or task.note.message or (last.message if last else "")
    if message:
        parts.append(f"- {message}")
    if task.cancel_requested and not task.final:
        parts.append("[cancel requested]")
    return safe_line(" ".join(parts))


def render_size(size: int) -> str:
    """Render a number of bytes for people."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
