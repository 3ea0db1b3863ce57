"""Turns a command's options into an open client, and an error into a message and an exit code."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import typer

from mltm.cli import exit_codes
from mltm.cli.program import describe_bad_file, describe_bad_text, describe_fault
from mltm.cli.screen import print_error, print_note
from mltm.contract.parse_config import ConfigError
from mltm.contract.problems import Problem
from mltm.wire.credentials import read_access
from mltm.wire.errors import MltmError, build_error
from mltm.wire.retry_policy import RetryPolicy

if TYPE_CHECKING:
    from mltm.client import Client

__all__ = ["Options", "add_hints", "find_task", "open_client", "perform", "perform_with_client"]

SHORTEST_PART = 6
SEARCHED_TASKS = 200


@dataclass(frozen=True)
class Options:
    """The options of every command: the gateway's address, its CA file, how long to try, and JSON or text."""

    url: str | None = None
    ca: str | None = None
    patience_s: float = 15.0
    as_json: bool = False


def open_client(options: Options, *, url: str, token: str | None, ca: str | None) -> "Client":
    """Build the client. Without --json it prints every retry."""
    from mltm.client import Client  # noqa: PLC0415 - the HTTP library takes 0.2 s to load, `--help` needs none of it

    def tell(error: MltmError, delay_s: float) -> None:
        if not options.as_json:
            print_note(f"{error.problem.detail} Trying again in {delay_s:.1f} s.")

    waiting_s = max(600.0, options.patience_s) if options.patience_s else 0.0
    retry_policy = replace(RetryPolicy(), request_s=options.patience_s, waiting_s=waiting_s)
    return Client(url, token, ca, retry_policy=retry_policy, on_retry=tell)


def perform_with_client(
    options: Options, work: "Callable[[Client], Awaitable[int]]", *, interrupted: Callable[[], str] = str
) -> None:
    """Run `work` with a client for the gateway that the user is logged in to, and exit with its code."""

    async def run() -> int:
        access = read_access(os.environ, url=options.url, ca=options.ca)
        if access.token is None:
            raise build_error(
                "not_logged_in", f"You are not logged in to {access.url}.",
                f"Run `mltm login {access.url}`, or set MLTM_TOKEN.", status=401,
            )  # fmt: skip
        async with open_client(options, url=access.url, token=access.token, ca=access.ca) as client:
            return await work(client)

    perform(options, run, interrupted=interrupted)


def perform(
    options: Options, work: Callable[[], Coroutine[object, object, int]], *, interrupted: Callable[[], str] = str
) -> None:
    """Run `work` and exit with its code, whatever happens. `interrupted` gives the message after Ctrl-C."""
    try:
        code = asyncio.run(work())
    except MltmError as error:
        print_error(add_hints(error.problem), as_json=options.as_json)
        code = exit_codes.of_problem(error.problem)
    except ConfigError as error:
        print_error(_describe_config(error), as_json=options.as_json)
        code = exit_codes.WRONG
    except BrokenPipeError:
        raise  # run_program knows it
    except (OSError, UnicodeError) as error:
        problem, code = describe_bad_file(error) if isinstance(error, OSError) else describe_bad_text(error)
        print_error(problem, as_json=options.as_json)
    except Exception as error:  # noqa: BLE001 - as in run_program; here it is known whether JSON is wanted
        problem, code = describe_fault(error)
        print_error(problem, as_json=options.as_json)
    except KeyboardInterrupt:
        print_note(interrupted() or "Interrupted.")
        code = exit_codes.INTERRUPTED
    raise typer.Exit(code)


async def find_task(client: "Client", text: str) -> str:
    """Find a task by its id, or by the part of it that fits only one of the newest 200. Raises MltmError."""
    plain = text.replace("-", "").lower()
    if len(plain) == 32:
        return plain
    if len(plain) < SHORTEST_PART or set(plain) - set("0123456789abcdef"):
        raise build_error(
            "bad_task_id", f"{text[:80]!r} is not a task id.",
            f"Give its 32 hex digits, or at least {SHORTEST_PART} of its first or last digits.", status=422,
        )  # fmt: skip
    newest = await client.tasks(limit=SEARCHED_TASKS)
    found = [task.task_id for task in newest.tasks if task.task_id.startswith(plain) or task.task_id.endswith(plain)]
    if len(found) == 1:
        return found[0]
    matching = f"{len(found)} of your newest {SEARCHED_TASKS} tasks match"
    none = f"None of your newest {SEARCHED_TASKS} tasks matches"
    raise build_error(
        "task_not_found", f"{matching if found else none} {plain}.", "Give more digits. `mltm list` shows the ids.",
        status=404,
    )  # fmt: skip


def add_hints(problem: Problem) -> Problem:
    """Add what only the command line knows: how to log in, and MLTM_HINT if the gateway does not answer."""
    steps = [problem.next_step]
    if problem.status == 401 and "mltm login" not in problem.next_step:
        steps.insert(0, "Run `mltm login`.")
    elif problem.status == 0:
        steps.append(os.environ.get("MLTM_HINT", ""))
    return problem.model_copy(update={"next_step": " ".join(filter(None, steps))})


def _describe_config(error: ConfigError) -> Problem:
    return Problem(
        title="wrong submission", status=422, key="invalid_config", fields=error.fields,
        detail="Nothing was sent, because the submission is not valid.",
    )  # fmt: skip
