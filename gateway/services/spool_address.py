"""Writes the gateway's address into the inboxes of its agents, with a proof: an agent follows no other file."""

import contextlib
from collections.abc import Iterable

import structlog

from gateway.values import InboxKey
from mltm.contract.proofs import render_address
from mltm.contract.spool_layout import Inbox
from mltm.runtime import hostile_files

__all__ = ["write_address", "write_addresses"]

_log = structlog.get_logger(__name__)
_MODE = 0o640  # readable for the agent's group


def write_addresses(inboxes: Iterable[InboxKey], url: str) -> None:
    """Write the address into each inbox. One that cannot be written is logged; the next start tries it again."""
    for place in inboxes:
        try:
            write_address(place, url)
        except OSError as error:
            _log.warning("url_not_written", inbox=str(place.inbox), url=url, error=str(error))


def write_address(place: InboxKey, url: str) -> None:
    """Write <inbox>/address, whole or not at all, and replace what has that name. Raises OSError."""
    name = Inbox(place.inbox).address.name
    building = hostile_files.make_private_name(f".{name}")
    with hostile_files.open_folder(place.inbox) as folder:
        _sweep(folder, f".{name}.")
        try:
            hostile_files.write_new_at(folder, building, render_address(url, place.spool_id, place.key), _MODE)
            hostile_files.rename_at(folder, building, folder, name)
        except OSError:
            with contextlib.suppress(OSError):
                hostile_files.remove_tree_at(folder, building)
            raise


def _sweep(folder: hostile_files.Folder, prefix: str) -> None:
    """Remove what a killed gateway left."""
    with contextlib.suppress(OSError):
        for name in hostile_files.list_names(folder):
            if name.startswith(prefix):
                hostile_files.remove_tree_at(folder, name)
