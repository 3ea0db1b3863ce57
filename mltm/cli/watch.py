"""Waits for a task's end and shows its progress: a moving line on a terminal, plain lines with times elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from mltm.cli import exit_codes
from mltm.cli.plain_text import LogText
from mltm.cli.screen import print_json, print_note, render_change
from mltm.contract.states import State
from mltm.contract.user_api import TaskAnswer
from mltm.wire.errors import MltmError

if TYPE_CHECKING:
    from mltm.client import Client

__all__ = ["offering_again", "render_interrupted", "watch"]

LAST_LOG_BYTES = 2000
LAST_LOG_LINES = 12


async def watch(client: "Client", task_id: str, *, as_json: bool) -> int:
    """Wait for the task's end, show every change, and return the exit code of that end."""
    with offering_again(f"mltm status {task_id} --wait"):
        if as_json:
            return exit_codes.of_state((await client.wait(task_id, on_change=print_json)).state)
        with _progress() as show:
            task = await client.wait(task_id, on_change=show)
    if task.state is State.FAILED:
        await _show_log_end(client, task)
    print_note(_render_next(task))
    return exit_codes.of_state(task.state)


@contextmanager
def offering_again(command: str) -> Iterator[None]:
    """Add to an error that ends the watching of a task how to watch it again."""
    try:
        yield
    except MltmError as error:
        step = f"{error.problem.next_step} To watch it again: {command}"
        raise type(error)(error.problem.model_copy(update={"next_step": step})) from error


def render_interrupted(task_id: str) -> str:
    """Say after Ctrl-C that the task goes on, and how to watch or cancel it."""
    return f"The task goes on. To watch it: mltm status {task_id} --wait. To cancel it: mltm cancel {task_id}"


@contextmanager
def _progress() -> Iterator[Callable[[TaskAnswer], None]]:
    console = Console(stderr=True, markup=False, highlight=False)
    if not (sys.stderr.isatty() and console.is_terminal):  # rich alone would obey FORCE_COLOR, and fill CI's logs
        yield lambda task: print_note(render_change(task, datetime.now(UTC)))
        return
    begun = time.monotonic()
    with console.status(Text("waiting")) as status:

        def show(task: TaskAnswer) -> None:
            console.print(Text(render_change(task, datetime.now(UTC))))
            since = f"{task.state.value}; waiting for {time.monotonic() - begun:.0f} s"
            status.update(Text(since))

        yield show


async def _show_log_end(client: "Client", task: TaskAnswer) -> None:
    """Print the end of a failed script's log, which saves a command. If it cannot be read, nothing is printed."""
    try:
        chunk = await client.log(task.task_id, offset=-LAST_LOG_BYTES)
    except MltmError:
        return
    lines = LogText().feed(chunk.data, last=True).splitlines()[-LAST_LOG_LINES:]
    sys.stderr.writelines(f"  | {line}\n" for line in lines)


def _render_next(task: TaskAnswer) -> str:
    begin = f"Task {task.task_id} {task.state.value}."
    if task.state is State.REJECTED:
        return f"{begin} It never ran. More: mltm status {task.task_id}"
    return f"{begin} Log: mltm log {task.task_id}; outputs: mltm get {task.task_id} -o FOLDER"
