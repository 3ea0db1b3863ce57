"""The command `mltm-agent`: spool make, enroll, run, once, check."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from agent.app import assemble
from agent.check.checks import run_checks
from agent.check.folder import FolderTestOptions
from agent.errors import AgentError, SettingsError
from agent.job.isolation import find_ways_out
from agent.settings import read_settings
from agent.spool.setup import prepare_spool
from agent.uplink.enrolment import enrol_agent
from mltm.entry_points import read_version
from mltm.runtime.clock import Clock
from mltm.runtime.logging_setup import set_up_logging

__all__ = ["main"]

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="The agent of the ML Task Manager, on the cluster.", context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
spool_app = typer.Typer(no_args_is_help=True, help="The agent's own folder.")
app.add_typer(spool_app, name="spool")
Config = Annotated[Path | None, typer.Option("--config", help="config file (TOML); ~/.config/mltm/agent.toml")]


def _find_config(config: Path | None) -> Path:
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return config or base / "mltm" / "agent.toml"


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer's own order
    if wanted:
        print(f"mltm-agent {read_version()}")
        raise typer.Exit


@app.callback()
def take_options(
    version: Annotated[
        bool, typer.Option("--version", help="show the version and exit", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Options of the program itself."""


@app.command("enroll")
def enroll(
    config: Config = None,
    gateway: Annotated[str | None, typer.Option(help="the gateway's address; default: the config's")] = None,
    code: Annotated[str | None, typer.Option(help="the one-time code")] = None,
    code_stdin: Annotated[bool, typer.Option("--code-stdin", help="read the code from standard input")] = False,
) -> None:
    """Enrol this agent with a one-time code (`mltm-gateway agent code`)."""
    settings = read_settings(_find_config(config))
    url = gateway or settings.gateway_url
    if not url:
        raise SettingsError("No gateway is given.", next_step="Give --gateway URL, or set gateway_url in the config.")
    secret = sys.stdin.readline().strip() if code_stdin else code or typer.prompt("Code", hide_input=True)
    enrolled = asyncio.run(enrol_agent(settings, url, secret))
    whose = f"tasks of {enrolled.owner}" if enrolled.owner else "everybody's tasks"
    print(f"enrolled at {url} for cluster {enrolled.cluster}: this agent runs {whose}")
    for message in find_ways_out(settings, os.environ, is_shared=not enrolled.owner):
        print(f"warning: it will not run like this: {message}")
    print("next: mltm-agent check, then mltm-agent run")


@spool_app.command("make")
def make_spool(config: Config = None) -> None:
    """Make the spool that the config names, or say what is wrong with it."""
    settings = read_settings(_find_config(config))
    identity = prepare_spool(settings, Clock())
    print(f"{settings.spool} is ready (id {identity.spool_id[:8]}…).")
    if settings.inbox is None:
        print("The gateway has to run as this same account, because it writes to the folder in/ of the spool.")
        print(f"next: mltm-gateway agent code --spool {settings.spool} --cluster {settings.cluster} --owner USER")
    else:
        print(f"The inbox {settings.inbox} is the gateway's, and this account can read it.")
        print(f"next: mltm-gateway agent code --inbox {settings.inbox} --cluster {settings.cluster} --owner USER")


@app.command("run")
def run(
    config: Config = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="log more")] = False,
) -> None:
    """Run until SIGTERM."""
    set_up_logging(is_verbose=verbose)
    asyncio.run(_run(_find_config(config)))


async def _run(config: Path) -> None:
    async with assemble(read_settings(config), os.environ) as parts:
        await parts.service.run(parts.loops)


@app.command("once")
def once(config: Config = None) -> None:
    """Do one round, send the reports, and say what happened."""
    set_up_logging()
    if not asyncio.run(_once(_find_config(config))):
        raise typer.Exit(1)


async def _once(config: Path) -> bool:
    async with assemble(read_settings(config), os.environ) as parts:
        await parts.poller.ask_first()
        result = await parts.service.tick_once()
        try:
            await parts.reporter.flush()
        except AgentError:
            print("reports wait in the outbox")
        for message in parts.alerts.sentences():
            print(f"problem: {message}")
        if result is None:
            return False
        print(f"{result.active} active tasks, {parts.outbox.count()} reports waiting")
        for message in result.problems:
            print(f"problem: {message}")
        return True


@app.command("check")
def check(
    config: Config = None,
    processes: Annotated[int, typer.Option(min=2, max=1000, help="how many race for claims in the spool")] = 64,
    claims: Annotated[
        int, typer.Option(min=1, max=100_000, help="how many claims they race for, for at most 5 s")
    ] = 100,
    with_job: Annotated[bool, typer.Option("--with-job", help="also race a compute node, by a short job")] = False,
    partition: Annotated[str | None, typer.Option(help="of that job; default: the site's")] = None,
    account: Annotated[str | None, typer.Option(help="of that job; default: yours")] = None,
) -> None:
    """Check what the agent needs, and whether the spool can be trusted. Exit code 1 if something is wrong."""
    set_up_logging()
    options = FolderTestOptions(processes, claims, with_job=with_job, partition=partition, account=account)
    findings = asyncio.run(run_checks(read_settings(_find_config(config)), os.environ, options))
    for finding in findings:
        print(f"{finding.grade:<5} {finding.what}{': ' + finding.message if finding.message else ''}")
    if any(finding.grade == "FAIL" for finding in findings):
        raise typer.Exit(1)


def main() -> None:
    """Run the command. Errors are sentences on stderr, with exit code 1."""
    try:
        app()
    except AgentError as error:
        print(f"mltm-agent: {error}", file=sys.stderr)
        raise SystemExit(1) from None
