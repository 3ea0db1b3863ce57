"""The commands that change tasks: cancel, hold, release. Each takes several; what fails for one stops no other."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from mltm.cli import exit_codes
from mltm.cli.screen import print_answer, print_error, print_note
from mltm.cli.session import add_hints, find_task
from mltm.cli.watch import watch
from mltm.wire.errors import MltmError

if TYPE_CHECKING:
    from mltm.client import Client

__all__ = ["change_tasks"]

A = TypeVar("A", bound=BaseModel)
_MEETS_ALL = frozenset({0, 401, 429, 502, 503, 504})


async def change_tasks(
    client: "Client",
    names: Sequence[str],
    change: Callable[[str], Awaitable[A]],
    describe: Callable[[A], str],
    *,
    wait: bool = False,
    as_json: bool,
) -> int:
    """Change each task and print what is recorded. Returns the highest code of all that went otherwise than asked."""
    changed: list[str] = []
    code = 0
    for number, name in enumerate(names):
        try:
            task_id = await find_task(client, name)
            answer = await change(task_id)
        except MltmError as error:
            if len(names) == 1:
                raise
            if error.problem.status in _MEETS_ALL:
                print_note(f"Not done: {', '.join(names[number:])}.")
                raise
            code = max(code, _tell(name, error, as_json=as_json))
            continue
        changed.append(task_id)
        if not wait:
            which = f"{task_id}: " if len(names) > 1 else ""
            print_answer(answer, which + describe(answer), as_json=as_json)
    return max([code, *[await watch(client, task_id, as_json=as_json) for task_id in (changed if wait else ())]])


def _tell(name: str, error: MltmError, *, as_json: bool) -> int:
    problem = add_hints(error.problem)
    print_error(problem.model_copy(update={"detail": f"{name}: {problem.detail}"}), as_json=as_json)
    return exit_codes.of_problem(error.problem)
