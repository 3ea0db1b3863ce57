"""login, logout, whoami."""

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mltm.cli.screen import print_json, print_line, print_note
from mltm.cli.session import Options, open_client
from mltm.contract.routes import CURRENT_TOKEN
from mltm.network.proxies import is_loopback
from mltm.wire.credentials import Access, read_stored, remove_access, write_access
from mltm.wire.errors import MltmError, build_error

if TYPE_CHECKING:
    from mltm.client import Client

__all__ = ["change_password", "log_in", "log_out", "show_me"]


async def log_in(options: Options, *, url: str | None, username: str, password: str, ca: str | None) -> int:
    """Exchange the password for a token and store it."""
    address = (url or options.url or os.environ.get("MLTM_URL") or "").strip().rstrip("/")
    if not address:
        raise build_error(
            "no_address", "The gateway's address is missing.", "Give it: mltm login https://host:8008", status=400
        )
    if not password:
        raise build_error(
            "no_password", "The password is empty.", "Type it, or pipe it to `mltm login --password-stdin`.", status=400
        )
    authority = ca or options.ca or os.environ.get("MLTM_CA")
    authority = _absolute(authority) if authority else None
    if _is_readable_by_others(address):
        print_note("Warning: with http:// others on the network can read your password. Use https:// if you can.")
    async with open_client(options, url=address, token=None, ca=authority) as client:
        token = (await client.login(username, password)).access_token
        me = await client.whoami()
    path = write_access(os.environ, Access(address, token, authority, me.username))
    if options.as_json:
        print_json({"url": address, "username": me.username, "role": me.role, "file": str(path)})
    else:
        print_line(f"Logged in to {address} as {me.username}.")
    if os.environ.get("MLTM_TOKEN"):
        print_note("MLTM_TOKEN is set and overrides this login. Unset it to use the login.")
    return 0


async def log_out(options: Options) -> int:
    """End the stored token at its gateway, and forget it, whatever the gateway says."""
    try:
        is_ended = await _end_token(options)
    finally:
        existed = remove_access(os.environ)
    if options.as_json:
        print_json({"logged_out": existed, "token_ended": is_ended})
    else:
        print_line("Logged out." if existed else "You were not logged in.")
    return 0


async def _end_token(options: Options) -> bool:
    """True if the stored token is not valid any more. Without one, and for a damaged file: False."""
    try:
        stored = read_stored(os.environ)
    except MltmError:
        return False
    if stored is None or stored.token is None:
        return False
    try:
        async with open_client(options, url=stored.url, token=stored.token, ca=stored.ca) as client:
            await client.revoke_token(CURRENT_TOKEN)
    except MltmError as error:
        if error.problem.status == 401:
            return True
        print_note(f"The gateway did not end the token: {error.problem.detail} {_UNTIL_IT_ENDS}")
        return False
    return True


_UNTIL_IT_ENDS = (
    "Whoever has a copy can use it until it expires. An administrator can end it: `mltm-gateway token revoke`."
)


async def change_password(client: "Client", current: str, new: str, *, as_json: bool) -> int:
    """Change the user's password."""
    await client.change_password(current, new)
    if as_json:
        print_json({"password_changed": True})
    else:
        print_line("Your password is changed. All your tokens have ended: log in again, and make new API tokens.")
    return 0


async def show_me(client: "Client", *, as_json: bool) -> int:
    """Print the user's name, role and clusters."""
    me = await client.whoami()
    if as_json:
        print_json(me)
    else:
        print_line(f"{me.username} ({me.role}); clusters: {', '.join(me.clusters) or 'none'}")
    return 0


def _is_readable_by_others(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:  # it is no address: the client says so
        return False
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def _absolute(path: str) -> str:
    return str(Path(path).resolve())
