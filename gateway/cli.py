"""The command `mltm-gateway`: serve, migrate, check, and the administration of users, tokens and agents."""

import asyncio
import json
import os
import pwd
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from gateway.app import make_database_file, make_folders, open_database
from gateway.check import check_all, list_notes, read_inboxes
from gateway.errors import GatewayError, InvalidError
from gateway.origin import Origin, entered
from gateway.print_rows import print_rows
from gateway.security_log import SecurityLog
from gateway.serve import serve
from gateway.services.inbox_folder import list_other_members, make_inbox
from gateway.services.new_passwords import hash_new_password, list_names
from gateway.services.passwords import hash_secret
from gateway.services.spool_address import write_address
from gateway.settings import GatewaySettings, read_settings
from gateway.store import agents, migrate, users
from gateway.store.database import Database
from gateway.values import Role
from mltm.contract.spool_layout import Spool
from mltm.contract.task_config import check_key
from mltm.entry_points import read_version
from mltm.runtime.clock import Clock
from mltm.runtime.logging_setup import set_up_logging

__all__ = ["main"]

T = TypeVar("T")


def _group(message: str) -> typer.Typer:
    return typer.Typer(
        no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, help=message,
        context_settings={"help_option_names": ["-h", "--help"]},
    )  # fmt: skip


app = _group("The gateway of the ML Task Manager.")
user_app = _group("Users who may log in.")
token_app = _group("API tokens of users.")
agent_app = _group("Agents on clusters, and the codes that enrol them.")
spool_app = _group("The gateway's part of a spool: the inbox of an agent.")
app.add_typer(user_app, name="user")
app.add_typer(token_app, name="token")
app.add_typer(agent_app, name="agent")
app.add_typer(spool_app, name="spool")

Config = Annotated[Path | None, typer.Option("--config", help="settings file (TOML)")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="read the password from standard input")]


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer's own order
    if wanted:
        print(f"mltm-gateway {read_version()}")
        raise typer.Exit


@app.callback()
def take_options(
    version: Annotated[
        bool, typer.Option("--version", help="show the version and exit", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Options of the program itself."""


@app.command("serve")
def run_serve(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="address to listen on")] = None,
    port: Annotated[int | None, typer.Option(help="port to listen on; 0: any free one")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="folder for everything it stores; on a local disk")] = None,
    public_url: Annotated[str | None, typer.Option(help="how users and agents reach it")] = None,
    allow_plain_http: Annotated[
        bool | None, typer.Option("--allow-plain-http", help="let other machines connect without TLS")
    ] = None,
) -> None:
    """Serve until SIGTERM."""
    set_up_logging()
    options: dict[str, object] = {
        "host": host, "port": port, "data_dir": data_dir, "public_url": public_url,
        "allow_plain_http": allow_plain_http,
    }  # fmt: skip
    asyncio.run(serve(read_settings(config, options), os.environ))


@app.command("migrate")
def run_migrate(config: Config = None) -> None:
    """Bring the database up to date."""
    settings = read_settings(config, {})
    make_folders(settings)
    make_database_file(settings)
    database = Database(settings.database_path)
    try:
        done = migrate.migrate(database)
    finally:
        database.close()
    print(f"migrated: {', '.join(done)}" if done else "nothing to do: the database is up to date")


@app.command("check")
def run_check(config: Config = None) -> None:
    """Check everything that the gateway needs; exit 1 if something is wrong."""
    settings = read_settings(config, {})
    findings = check_all(settings, read_inboxes(settings), Clock().now())
    for name, message in findings:
        print(f"{'ok' if message == 'ok' else 'FAIL':<5} {name}{'' if message == 'ok' else ': ' + message}")
    for name, message in list_notes(settings):
        print(f"note  {name}: {message}")
    if any(message != "ok" for _, message in findings):
        raise typer.Exit(1)


@app.command("restored")
def run_restored(config: Config = None) -> None:
    """Run this after you restored a backup of the database: agents then report everything again."""
    with _database(read_settings(config, {})) as database:
        migrate.renew_generation(database)
    print("done: every agent will report its tasks again")


@user_app.command("add")
def add_user(
    username: str,
    role: Annotated[str, typer.Option(help="user or admin")] = "user",
    password_stdin: FromStdin = False,
    config: Config = None,
) -> None:
    """Add a user."""
    _check_name(username)
    if role not in ("user", "admin"):
        raise InvalidError(f"--role is {role!r}. It can be user or admin.", key="bad_role", next_step="")
    password = _read_password(username, config, from_stdin=password_stdin)
    checked: Role = "admin" if role == "admin" else "user"
    with _acting(config) as (database, security):
        user = database.call_now(users.add_user, username, checked, password, Clock().now())
        security.record("user_added", role=user.role, of_user=user.username, of_user_id=user.user_id)
    print(f"{username} can log in now ({role}), at the gateway of {read_settings(config, {}).database_path.absolute()}")


@user_app.command("passwd")
def set_password(username: str, password_stdin: FromStdin = False, config: Config = None) -> None:
    """Set a new password, and revoke the user's tokens."""
    password = _read_password(username, config, from_stdin=password_stdin)
    with _acting(config) as (database, security):
        user = database.call_now(users.set_password, username, password, Clock().now())
        security.record("password_set", of_user=user.username, of_user_id=user.user_id)
    print(f"{username} has a new password")


@user_app.command("remove")
def remove_user(username: str, config: Config = None) -> None:
    """Remove a user. His tokens, agents and unused enrolment codes end with him; his tasks stay, for admins to see."""
    with _acting(config) as (database, security):
        ended = database.call_now(users.remove_user, username, Clock().now())
        security.record(
            "user_removed", of_user=username, of_user_id=ended.user_id, tokens=ended.tokens, agents=ended.agents,
            codes=ended.codes,
        )  # fmt: skip
    print(
        f"{username} is removed. Ended with him: tokens {ended.tokens}, agents {ended.agents}, unused enrolment codes "
        f"{ended.codes}. If the name is added again, it is another user, who sees nothing of this one."
    )


@user_app.command("list")
def list_users(as_json: AsJson = False, config: Config = None) -> None:
    """List all users."""
    print_rows(_run_in_database(config, users.list_users), as_json=as_json)


@token_app.command("create")
def create_token(
    username: str,
    name: Annotated[str, typer.Option(help="what it is for")] = "api",
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Create an API token. It is shown only once."""
    clock = Clock()
    secret = clock.new_secret("mltm_")
    with _acting(config) as (database, security):
        user = database.call_now(users.find_user, username)
        new = users.NewToken(clock.new_id(), user, name, hash_secret(secret), clock.now(), None)
        made = database.call_now(users.add_token, new)
        security.record("token_created", token_id=made.token_id, of_user_id=user.user_id)
    print(json.dumps({"token_id": made.token_id, "name": name, "token": secret}) if as_json else secret)


@token_app.command("list")
def list_tokens(username: str, as_json: AsJson = False, config: Config = None) -> None:
    """List a user's tokens, without the tokens themselves."""
    with _database(read_settings(config, {})) as database:
        user = database.call_now(users.find_user, username)
        rows = database.call_now(users.list_tokens, user, Clock().now())
    print_rows([row.model_dump(mode="json", exclude={"token"}) for row in rows], as_json=as_json)


@token_app.command("revoke")
def revoke_token(token_id: str, config: Config = None) -> None:
    """Revoke a token."""
    with _acting(config) as (database, security):
        user_id = database.call_now(users.revoke_token, None, token_id, Clock().now())
        security.record("token_revoked", token_id=token_id, of_user_id=user_id)
    print(f"{token_id} is revoked")


@agent_app.command("code")
def make_code(
    cluster: Annotated[str, typer.Option(help="the name that users give as runner_location")],
    spool: Annotated[
        Path | None, typer.Option(help="the agent's spool, if it runs as the gateway's account: the inbox is in/ there")
    ] = None,
    inbox: Annotated[
        Path | None, typer.Option(help="the folder that `mltm-gateway spool make` made, if it runs as another account")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="the user whose tasks the agent runs")] = None,
    shared: Annotated[bool, typer.Option("--shared", help="the agent runs the tasks of all users")] = False,
    minutes: Annotated[int, typer.Option(help="how long the code is valid")] = 10,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Create a one-time code for `mltm-agent enroll`."""
    _check_name(cluster)
    if (owner is None) != shared:
        raise InvalidError(
            "Give --owner NAME, or --shared for an agent that runs the tasks of all users.",
            key="bad_owner",
            next_step="",
        )
    if (spool is None) == (inbox is None):
        raise InvalidError(
            "Give --spool FOLDER if the agent runs as the gateway's account, or --inbox FOLDER if it does not.",
            key="bad_inbox",
            next_step="",
        )
    place = inbox.resolve() if inbox else Spool((spool or Path()).resolve()).inbox.root
    clock = Clock()
    secret, now = clock.new_secret("enrol_"), clock.now()
    until = now + timedelta(minutes=minutes)
    with _acting(config) as (database, security):
        new = agents.NewCode(hash_secret(secret), cluster, owner, place, now, until)
        owner_id = database.call_now(agents.add_code, new)
        security.record("code_created", cluster=cluster, of_user=owner, of_user_id=owner_id, inbox=new.inbox)
    print(json.dumps({"code": secret, "expires_at": until.isoformat()}) if as_json else secret)


@agent_app.command("move")
def move_agent(
    agent_id: str,
    inbox: Annotated[Path, typer.Option(help="the new folder, made by `mltm-gateway spool make`")],
    config: Config = None,
) -> None:
    """Give an agent another inbox. What waits for it is published there; set `inbox` in the agent's config, too."""
    with _acting(config) as (database, security):
        moved = database.call_now(agents.move_agent, agent_id, inbox.resolve())
        security.record("agent_moved", of_agent_id=agent_id, inbox=moved.inbox)
    write_address(moved, read_settings(config, {}).url)
    print(f'{agent_id} has the inbox {moved.inbox}. Set inbox = "{moved.inbox}" in the agent\'s config and restart it.')


@agent_app.command("list")
def list_agents(as_json: AsJson = False, config: Config = None) -> None:
    """List the agents, the revoked ones too."""
    print_rows(_run_in_database(config, agents.list_agents), as_json=as_json)


@agent_app.command("revoke")
def revoke_agent(agent_id: str, config: Config = None) -> None:
    """Revoke an agent's credential. Its tasks wait until it is enrolled again, for the same owner and spool."""
    with _acting(config) as (database, security):
        waiting = database.call_now(agents.revoke_agent, agent_id, Clock().now())
        security.record("agent_revoked", of_agent_id=agent_id)
    print(
        f"{agent_id} is revoked. Its unfinished tasks ({waiting}) wait until it is enrolled again, for the same owner "
        "and spool."
    )


@spool_app.command("make")
def make_spool(
    folder: Annotated[Path, typer.Argument(help="the inbox: a folder of this account's own")],
    group: Annotated[
        str | None,
        typer.Option(help="a group (name or number) with this account and the agent's; none for one account"),
    ] = None,
) -> None:
    """Make an agent's inbox: the gateway puts tasks into it, and the agent only reads there."""
    inbox = make_inbox(folder, group)
    print(f"{inbox.root} is ready.")
    if group is not None:
        name, members = list_other_members(inbox.root.stat().st_gid)
        print(f"The group {name} can read it. Its other members are: {', '.join(members) or 'none known here'}.")
    print(f"next: mltm-gateway agent code --inbox {inbox.root} --cluster CLUSTER --owner USER")
    print(f'and in the config of the agent: inbox = "{inbox.root}"')


def _run_in_database(config: Path | None, fn: Callable[..., T], *args: object) -> T:
    with _database(read_settings(config, {})) as database:
        return database.call_now(fn, *args)


@contextmanager
def _database(settings: GatewaySettings) -> Iterator[Database]:
    database = open_database(settings)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def _acting(config: Path | None) -> Iterator[tuple[Database, SecurityLog]]:
    """The database, and the security log with the Unix user who runs this command."""
    set_up_logging()  # a security log that cannot be written is said on stderr; stdout has a token, perhaps
    settings, clock = read_settings(config, {}), Clock()
    with _database(settings) as database, entered(Origin(address="local", unix_user=_read_unix_user())):
        security = SecurityLog(settings.security_log_path, clock.now)
        try:
            yield database, security
        finally:
            security.close()


def _read_unix_user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # an account that the system does not list, as in some containers
        return str(os.getuid())


def _check_name(name: str) -> None:
    try:
        check_key(name)
    except ValueError as error:
        raise InvalidError(f"{name!r} is not a valid name: {error}.", key="bad_name", next_step="") from error


def _read_password(username: str, config: Path | None, *, from_stdin: bool) -> str:
    """Ask for a new password of this user; its hash. Raises InvalidError for one that is easy to guess."""
    words = (username, *list_names(read_settings(config, {})))
    if not from_stdin and not sys.stdin.isatty():
        raise InvalidError(
            "The password cannot be asked for: there is no terminal.",
            key="no_terminal",
            next_step="Send it on standard input, with --password-stdin.",
        )
    password: str = sys.stdin.readline().rstrip("\n") if from_stdin else typer.prompt("Password", hide_input=True)
    return hash_new_password(password, words)


def main() -> None:
    """Run the command; an error is a message on stderr."""
    try:
        app()
    except GatewayError as error:
        print(f"mltm-gateway: {error} {error.next_step}".rstrip(), file=sys.stderr)
        raise SystemExit(1) from None
    except OSError as error:
        print(f"mltm-gateway: {error.filename or 'a file'}: {error.strerror or error}.", file=sys.stderr)
        raise SystemExit(1) from None
