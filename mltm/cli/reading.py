"""The commands that only read: list, status, log, outputs."""

import sys
from datetime import datetime
from typing import TYPE_CHECKING

from mltm.cli.plain_text import LogText, safe_line
from mltm.cli.screen import print_json, print_line, print_note, print_table, render_size
from mltm.cli.watch import offering_again
from mltm.contract.user_api import TaskAnswer
from mltm.wire.logs import LogChunk

if TYPE_CHECKING:
    from mltm.client import Client

__all__ = ["follow_log", "show_log", "show_outputs", "show_task", "show_tasks"]

PAGE = 100


async def show_tasks(client: "Client", *, state: str | None, limit: int, as_json: bool) -> int:
    """Print the newest tasks, at most `limit`."""
    tasks: list[TaskAnswer] = []
    before: str | None = None
    while len(tasks) < limit:
        page = await client.tasks(state=state, limit=min(PAGE, limit - len(tasks)), before=before)
        tasks += page.tasks
        before = page.next
        if before is None:
            break
    if as_json:
        print_json({"tasks": [task.model_dump(mode="json") for task in tasks], "next": before})
    else:
        print_table(("TASK", "STATE", "SUBMITTED", "CLUSTER", "SCRIPT"), [_row(task) for task in tasks])
        if not tasks:
            print_note("No tasks.")
    return 0


async def show_task(client: "Client", task_id: str, *, as_json: bool) -> int:
    """Print one task with its attempts and history."""
    task = await client.task(task_id)
    if as_json:
        print_json(task)
        return 0
    for name, value in _facts(task):
        if value:
            print_line(f"{name + ':':<12}{safe_line(value)}")
    for event in task.history:
        number = f" (attempt {event.attempt})" if event.attempt else ""
        print_line(f"  {_render_time(event.at)}  {event.state.value}{number} {safe_line(event.message)}".rstrip())
    return 0


async def show_log(client: "Client", task_id: str, *, attempt: int | None, raw: bool, as_json: bool) -> int:
    """Print the log so far."""
    printer = _LogPrinter(raw=raw, as_json=False, quiet=as_json)
    position = 0
    while True:
        chunk = await client.log(task_id, offset=position, attempt=attempt)
        printer.show(chunk, skipped=max(0, chunk.offset - position))
        position = chunk.end
        if not chunk.data or position >= chunk.size:
            break
    printer.end()
    if as_json:
        fields = {"task_id": task_id, "attempt": attempt, "size": chunk.size, "final": chunk.final}
        print_json({**fields, "text": "".join(printer.kept)})
    return 0


async def follow_log(client: "Client", task_id: str, *, attempt: int | None, raw: bool, as_json: bool) -> int:
    """Print the log as it grows, until the task ends."""
    printer = _LogPrinter(raw=raw, as_json=as_json, quiet=False)
    with offering_again(f"mltm log {task_id} -f"):
        async for chunk in client.follow_log(task_id, attempt=attempt):
            printer.show(chunk, skipped=chunk.skipped)
    printer.end()
    return 0


async def show_outputs(client: "Client", task_id: str, *, as_json: bool) -> int:
    """Print the files in the task's outputs folder."""
    outputs = await client.outputs(task_id)
    if as_json:
        print_json(outputs)
        return 0
    rows = [(file.path, render_size(file.size), _render_time(file.modified_at)) for file in outputs.files]
    print_table(("PATH", "SIZE", "MODIFIED"), rows)
    if not rows:
        print_note("No outputs.")
    return 0


class _LogPrinter:
    """Prints chunks: to a terminal without control sequences, elsewhere byte for byte."""

    def __init__(self, *, raw: bool, as_json: bool, quiet: bool) -> None:
        self._bytes = not as_json and not quiet and (raw or not sys.stdout.isatty())
        self._as_json, self._quiet, self._raw = as_json, quiet, as_json or quiet
        self._text = LogText(raw=self._raw)
        self._attempt: int | None = None
        self.kept: list[str] = []

    def show(self, chunk: LogChunk, *, skipped: int) -> None:
        """Print a chunk. Before it, say what is missing."""
        if self._attempt is not None and chunk.attempt != self._attempt:
            self.end()
            self._text = LogText(raw=self._raw)
            if not self._as_json:
                print_note(f"[attempt {chunk.attempt} begins]")
        self._attempt = chunk.attempt
        if skipped and not self._as_json:
            print_note(f"[{skipped:,} bytes in the middle of the log were dropped on the cluster]")
        if self._bytes:
            sys.stdout.buffer.write(chunk.data)
            sys.stdout.buffer.flush()
            return
        text = self._text.feed(chunk.data)
        if self._as_json:
            print_json(
                {"attempt": chunk.attempt, "offset": chunk.offset, "skipped": skipped, "size": chunk.size, "text": text}
            )
        else:
            self._put(text)

    def end(self) -> None:
        """Print what was held back."""
        if not self._bytes and (rest := self._text.feed(b"", last=True)):
            self._put(rest) if not self._as_json else print_json({"attempt": self._attempt, "text": rest})

    def _put(self, text: str) -> None:
        if self._quiet:
            self.kept.append(text)
        else:
            sys.stdout.write(text)
            sys.stdout.flush()


def _row(task: TaskAnswer) -> tuple[str, ...]:
    return (task.task_id, task.state.value, _render_time(task.submitted_at), task.cluster, task.script_path or "")


def _render_time(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def _facts(task: TaskAnswer) -> list[tuple[str, str]]:
    last = task.attempts[-1] if task.attempts else None
    cancel = " (cancel requested)" if task.cancel_requested and not task.final else ""
    return [
        ("task", task.task_id),
        ("state", task.state.value + cancel),
        ("reason", task.reason or task.note.message),
        ("owner", task.owner),
        ("cluster", task.cluster),
        ("script", task.script_path or ""),
        ("experiment", task.experiment_name or ""),
        ("submitted", _render_time(task.submitted_at)),
        ("attempt", str(last.attempt) if last else ""),
        ("job", (last.job_id or "") if last else ""),
        ("node", (last.node or "") if last else ""),
        ("exit code", str(last.exit_code) if last and last.exit_code is not None else ""),
        ("signal", str(last.signal) if last and last.signal is not None else ""),
        ("elapsed", f"{last.elapsed_s:.1f} s" if last and last.elapsed_s is not None else ""),
    ]
