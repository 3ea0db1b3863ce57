"""The key that this spool shares with its gateway: what the gateway proves is judged with it. Mode 0600."""

from agent.errors import SpoolError
from agent.spool.os_errors import explain_os_error
from mltm.contract.proofs import parse_key
from mltm.contract.spool_layout import Spool
from mltm.runtime import files
from mltm.runtime.clock import Clock

__all__ = ["read_spool_key", "write_spool_key"]


def read_spool_key(spool: Spool) -> bytes | None:
    """Read the key; None if the gateway never gave one (before version 0.2). Raises SpoolError."""
    try:
        raw = files.read_bytes(spool.spool_key, 200)
    except OSError as error:
        raise explain_os_error(error, spool.spool_key) from error
    if raw is None:
        return None
    try:
        return parse_key(raw.decode(errors="replace"))
    except ValueError as error:
        raise SpoolError(
            f"The key in {spool.spool_key} is damaged.",
            next_step="Restore the file from a backup. Without it nobody can tell the gateway's tasks from others.",
        ) from error


def write_spool_key(spool: Spool, key: str, clock: Clock) -> None:
    """Keep the key that an enrolment gave. Raises SpoolError."""
    try:
        files.replace(spool.spool_key, f"{key}\n".encode(), clock.nonce(), 0o600)
    except OSError as error:
        raise explain_os_error(error, spool.spool_key) from error
