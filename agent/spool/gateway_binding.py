"""Binds a spool to one gateway, by the random id of the gateway where its agent was first enrolled.

Names are for people: two gateways may have the same one, and a spool that reports to both would give each of them the
other's tasks. Old spools were bound by the name alone; the next enrolment binds them by the id.
"""

from pathlib import Path
from typing import Protocol

from agent.errors import SpoolError
from agent.spool.os_errors import explain_os_error
from mltm.contract.agent_api import Enrolled
from mltm.contract.spool_layout import Spool
from mltm.runtime import files
from mltm.runtime.clock import Clock

__all__ = ["bind_gateway", "check_gateway"]


class _Gateway(Protocol):
    """What the enrolment says about the gateway, and the credential keeps."""

    @property
    def gateway_id(self) -> str:
        """Empty for an old gateway."""

    @property
    def gateway_name(self) -> str:
        """For people."""


def bind_gateway(spool: Spool, enrolled: Enrolled, clock: Clock) -> None:
    """Bind the spool to the gateway where the agent enrols now. Raises SpoolError if it belongs to another one."""
    try:
        bound = _read(spool.gateway_id)
        if not bound and enrolled.gateway_id:
            _check_upgrade(spool, enrolled)
            files.link_once(spool.gateway_id, enrolled.gateway_id.encode() + b"\n", clock.nonce(), 0o600)
        if _read(spool.gateway_id) == enrolled.gateway_id:
            files.link_once(spool.gateway_name, enrolled.gateway_name.encode() + b"\n", clock.nonce(), 0o600)
    except OSError as error:
        raise explain_os_error(error, spool.agent) from error
    check_gateway(spool, enrolled)


def check_gateway(spool: Spool, gateway: _Gateway) -> None:
    """Check that the spool belongs to this gateway; changes nothing. Raises SpoolError."""
    name, bound = _read(spool.gateway_name), _read(spool.gateway_id)
    if not name and not bound:
        raise SpoolError(
            f"The spool {spool.root} belongs to no gateway yet.",
            next_step="Enrol this agent on it: mltm-agent enroll --gateway URL --code CODE.",
        )
    same = bound == gateway.gateway_id if bound or gateway.gateway_id else name == gateway.gateway_name
    if not same:
        raise SpoolError(
            f"The spool {spool.root} belongs to {_describe(name, bound)}, but the agent is enrolled at "
            f"{_describe(gateway.gateway_name, gateway.gateway_id)}.",
            next_step="Enrol at the spool's gateway again, or set another, empty spool in the agent's config.",
        )


def _check_upgrade(spool: Spool, enrolled: Enrolled) -> None:
    """Raise SpoolError unless the spool has reported to this generation of the database: a name proves nothing."""
    name, generation = _read(spool.gateway_name), _read(spool.generation)
    if generation == enrolled.generation if generation else name in {"", enrolled.gateway_name}:
        return
    raise SpoolError(
        f"The spool {spool.root} was bound to {_describe(name, '')} before gateways had ids. It may not be "
        f"{_describe(enrolled.gateway_name, enrolled.gateway_id)}, because the database or the name is different.",
        next_step=f"If it is the same one, restored or renamed, remove {spool.generation} and {spool.gateway_name} and "
        "enrol again with a new code. If it is not, set another, empty spool in the agent's config.",
    )


def _describe(name: str, gateway_id: str) -> str:
    return f"the gateway {name!r} (id {gateway_id[:8]})" if gateway_id else f"the gateway {name!r}"


def _read(path: Path) -> str:
    try:
        return (files.read_bytes(path, 200) or b"").decode(errors="replace").strip()
    except OSError as error:
        raise explain_os_error(error, path) from error
