"""The command `mltm`: its commands and their options. The modules beside it do the work."""

# ruff: noqa: FBT002 - typer makes options of defaults

import dataclasses
import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mltm.cli import account, downloading, reading
from mltm.cli.changing import change_tasks
from mltm.cli.program import run_program
from mltm.cli.screen import print_json, print_line
from mltm.cli.session import Options, find_task, perform, perform_with_client
from mltm.cli.watch import render_interrupted, watch
from mltm.contract.states import State
from mltm.contract.user_api import CancelAnswer, HoldAnswer
from mltm.entry_points import read_version

if TYPE_CHECKING:
    from mltm.client import Client

__all__ = ["app", "main"]

app = typer.Typer(
    name="mltm", no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip


def _or_before(ctx: typer.Context, given: bool) -> bool:  # noqa: FBT001 - typer's own order
    """`mltm --json list` is `mltm list --json`."""
    options: Options | None = ctx.obj
    return given or (options is not None and options.as_json)


_JSON_HELP = "Print JSON to stdout: one document, or one per line while waiting."
Json = Annotated[bool, typer.Option("--json", help=_JSON_HELP, callback=_or_before)]
Wait = Annotated[bool, typer.Option("--wait", "-w", help="Wait for the task's end. The exit code tells how it ended.")]
Task = Annotated[str, typer.Argument(metavar="TASK", help="A task id, or at least 6 of its first or last digits.")]
Tasks = Annotated[
    list[str],
    typer.Argument(
        metavar="TASK", help="One or more tasks, each by its id, or at least 6 of its first or last digits."
    ),
]
Attempt = Annotated[
    int | None, typer.Option("--attempt", metavar="N", min=1, help="Number of the attempt. Default: the newest.")
]


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer's own order
    if wanted:
        print_line(f"mltm {read_version()}")
        raise typer.Exit


@app.callback()
def set_options(
    ctx: typer.Context,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Address of the gateway. Default: MLTM_URL, then the stored login."),
    ] = None,
    ca: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="PEM file of the authority that signed the gateway's certificate."),
    ] = None,
    patience: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to keep trying if the gateway does not answer.")
    ] = 15.0,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --json after the command.")] = False,
    version: Annotated[  # noqa: ARG001 - its callback does it all
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Run machine-learning tasks on a Slurm cluster."""
    ctx.obj = Options(url=url, ca=ca, patience_s=patience, as_json=as_json)


def _options(ctx: typer.Context, as_json: bool) -> Options:  # noqa: FBT001
    options: Options = ctx.obj
    return dataclasses.replace(options, as_json=as_json)


@app.command()
def login(
    ctx: typer.Context,
    address: Annotated[
        str | None, typer.Argument(metavar="ADDRESS", help="For example https://host:8008. Default: MLTM_URL.")
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", "-u", metavar="NAME", help="User name. Default: ask for it.")
    ] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
    ca: Annotated[
        str | None, typer.Option(metavar="FILE", help="PEM file as in `mltm --ca`. It is stored with the login.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Log in. The token is stored in a file that only you can read."""
    username = user or typer.prompt("User name", err=True)
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else getpass.getpass("Password: ")
    options = _options(ctx, as_json)
    perform(options, lambda: account.log_in(options, url=address, username=username, password=password, ca=ca))


@app.command()
def logout(ctx: typer.Context, as_json: Json = False) -> None:
    """End the stored login: its token, at the gateway and here."""
    options = _options(ctx, as_json)
    perform(options, lambda: account.log_out(options))


@app.command()
def passwd(
    ctx: typer.Context,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the current and the new password from stdin, one a line.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Change your password. All your tokens end with the old one."""
    if password_stdin:
        current, new = (sys.stdin.readline().rstrip("\r\n") for _ in range(2))
    else:
        current, new = getpass.getpass("Current password: "), getpass.getpass("New password: ")
        if getpass.getpass("New password again: ") != new:
            raise typer.BadParameter("The two new passwords are not the same.")
    perform_with_client(
        _options(ctx, as_json), lambda client: account.change_password(client, current, new, as_json=as_json)
    )


@app.command()
def whoami(ctx: typer.Context, as_json: Json = False) -> None:
    """Show your user name, your role and the clusters you may use."""
    perform_with_client(_options(ctx, as_json), lambda client: account.show_me(client, as_json=as_json))


@app.command()
def submit(
    ctx: typer.Context,
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The task's JSON config.")],
    script: Annotated[Path, typer.Argument(metavar="SCRIPT", help="The script that the config names.")],
    file: Annotated[
        list[Path] | None, typer.Option("--file", metavar="FILE", help="Another file to send. Can be repeated.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Idempotency key. The same key again gives the same task.")
    ] = None,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Submit a task and print its id."""
    sent: list[str] = []

    async def work(client: "Client") -> int:
        task = await client.submit(config, script, file or (), key)
        sent.append(task.task_id)
        if not as_json:
            print_line(task.task_id)
        elif not wait:
            print_json(task)
        return await watch(client, task.task_id, as_json=as_json) if wait else 0

    perform_with_client(
        _options(ctx, as_json), work,
        interrupted=lambda: render_interrupted(sent[0]) if sent else "Interrupted. `mltm list` shows if it arrived.",
    )  # fmt: skip


@app.command("list")
def list_tasks(
    ctx: typer.Context,
    state: Annotated[
        State | None, typer.Option(metavar="STATE", help="Only tasks in this state, for example running.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=1, max=10_000, help="List at most N tasks.")
    ] = 20,
    as_json: Json = False,
) -> None:
    """List your tasks, newest first."""
    wanted = state.value if state else None
    perform_with_client(
        _options(ctx, as_json), lambda client: reading.show_tasks(client, state=wanted, limit=limit, as_json=as_json)
    )


@app.command()
def status(ctx: typer.Context, task: Task, wait: Wait = False, as_json: Json = False) -> None:
    """Show a task with its history. With --wait, wait for its end."""

    async def work(client: "Client") -> int:
        task_id = await find_task(client, task)
        if wait:
            return await watch(client, task_id, as_json=as_json)
        return await reading.show_task(client, task_id, as_json=as_json)

    perform_with_client(_options(ctx, as_json), work, interrupted=lambda: render_interrupted(task))


@app.command()
def log(
    ctx: typer.Context,
    task: Task,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print new lines until the task ends.")] = False,
    attempt: Attempt = None,
    raw: Annotated[bool, typer.Option("--raw", help="Do not remove control sequences on a terminal.")] = False,
    as_json: Json = False,
) -> None:
    """Print the log: what the script printed."""

    async def work(client: "Client") -> int:
        task_id = await find_task(client, task)
        show = reading.follow_log if follow else reading.show_log
        return await show(client, task_id, attempt=attempt, raw=raw, as_json=as_json)

    perform_with_client(_options(ctx, as_json), work, interrupted=lambda: render_interrupted(task))


@app.command()
def outputs(ctx: typer.Context, task: Task, as_json: Json = False) -> None:
    """List the files that the task has written."""

    async def work(client: "Client") -> int:
        return await reading.show_outputs(client, await find_task(client, task), as_json=as_json)

    perform_with_client(_options(ctx, as_json), work)


@app.command()
def get(
    ctx: typer.Context,
    task: Task,
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH", help="Outputs to download. Default: all.")
    ] = None,
    folder: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the downloaded files.")
    ] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
    as_json: Json = False,
) -> None:
    """Download outputs. Each file appears whole or not at all. What cannot be downloaded is named at the end."""

    async def work(client: "Client") -> int:
        task_id = await find_task(client, task)
        return await downloading.download_outputs(client, task_id, paths or [], folder, force=force, as_json=as_json)

    perform_with_client(_options(ctx, as_json), work)


@app.command()
def cancel(ctx: typer.Context, tasks: Tasks, wait: Wait = False, as_json: Json = False) -> None:
    """Cancel tasks."""

    def describe(answer: CancelAnswer) -> str:
        return f"The cancel is recorded. The task stays {answer.state.value} until the cluster has cancelled it."

    async def work(client: "Client") -> int:
        return await change_tasks(client, tasks, client.cancel, describe, wait=wait, as_json=as_json)

    perform_with_client(_options(ctx, as_json), work, interrupted=lambda: render_interrupted(tasks[0]))


@app.command()
def hold(ctx: typer.Context, tasks: Tasks, as_json: Json = False) -> None:
    """Do not submit tasks to Slurm until they are released."""

    def describe(_: HoldAnswer) -> str:
        return "The hold is recorded. A job that Slurm already has goes on; no other attempt will start."

    async def work(client: "Client") -> int:
        return await change_tasks(client, tasks, client.hold, describe, as_json=as_json)

    perform_with_client(_options(ctx, as_json), work)


@app.command()
def release(ctx: typer.Context, tasks: Tasks, as_json: Json = False) -> None:
    """Release held tasks."""

    def describe(_: HoldAnswer) -> str:
        return "The release is recorded. The task goes on."

    async def work(client: "Client") -> int:
        return await change_tasks(client, tasks, client.release, describe, as_json=as_json)

    perform_with_client(_options(ctx, as_json), work)


def main() -> None:
    """Run the command."""
    run_program(app)
