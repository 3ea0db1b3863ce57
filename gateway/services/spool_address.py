"""Writes the gateway's address into the spools, for `mltm` and agents. The spool's owner may change it at any time."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

import structlog

from mltm.contract.spool_layout import Spool
from mltm.runtime import hostile_files

__all__ = ["write_url", "write_urls"]

_log = structlog.get_logger(__name__)
_URL_MODE = 0o644  # no secret; the agent may be another account


def write_urls(spools: Iterable[Path], url: str) -> None:
    """Write the address into each spool. One that cannot be written is logged; the next start tries it again."""
    for folder in spools:
        try:
            write_url(Spool(folder), url)
        except OSError as error:
            _log.warning("url_not_written", spool=str(folder), url=url, error=str(error))


def write_url(spool: Spool, url: str) -> None:
    """Write <spool>/gateway.url, whole or not at all, and replace what has that name. Raises OSError."""
    name = spool.gateway_url.name
    building = hostile_files.make_private_name(f".{name}")
    with hostile_files.open_folder(spool.root) as root:
        try:
            hostile_files.write_new_at(root, building, f"{url}\n".encode(), _URL_MODE)
            hostile_files.rename_at(root, building, root, name)
        except OSError:
            with contextlib.suppress(OSError):
                hostile_files.remove_tree_at(root, building)
            raise
