"""Which gateway a spool belongs to: the one whose random id its agent was first enrolled with. Names are for people.

Two installations may bear one name, and a spool that reports to both would give each of them the other's tasks.
Spools of before were bound by the name alone; those are bound by the id at the next enrolment.
"""

from pathlib import Path
from typing import Protocol

from agent.errors import SpoolError
from agent.spool.setup import explain_os_error
from mltm.contract.agent_api import Enrolled
from mltm.contract.spool_layout import Spool
from mltm.runtime import files
from mltm.runtime.clock import Clock

__all__ = ["bind_gateway", "check_gateway"]


class _Gateway(Protocol):
    """What the enrolment told of the gateway, and the credential keeps."""

    @property
    def gateway_id(self) -> str:
        """Empty for a gateway of before."""

    @property
    def gateway_name(self) -> str:
        """For people."""


def bind_gateway(spool: Spool, enrolled: Enrolled, clock: Clock) -> None:
    """Bind the spool to the gateway that the agent is enrolled at now, or see that it is. Raises SpoolError."""
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
    """See that the spool is bound to this gateway; changes nothing. Raises SpoolError."""
    name, bound = _read(spool.gateway_name), _read(spool.gateway_id)
    if not name and not bound:
        raise SpoolError(
            f"The spool {spool.root} belongs to no gateway yet.",
            next_step="Enrol this agent on it: mltm-agent enroll --gateway URL --code CODE.",
        )
    same = bound == gateway.gateway_id if bound or gateway.gateway_id else name == gateway.gateway_name
    if not same:
        raise SpoolError(
            f"The spool {spool.root} belongs to {_describe(name, bound)}, and the agent is enrolled at "
            f"{_describe(gateway.gateway_name, gateway.gateway_id)}.",
            next_step="Enrol at the spool's gateway again, or name another, empty spool in the agent's config.",
        )


def _check_upgrade(spool: Spool, enrolled: Enrolled) -> None:
    """A name proves nothing; that the spool has reported to this very generation of the database does."""
    name, generation = _read(spool.gateway_name), _read(spool.generation)
    if generation == enrolled.generation if generation else name in {"", enrolled.gateway_name}:
        return
    raise SpoolError(
        f"The spool {spool.root} was bound to {_describe(name, '')} before gateways had ids. Whether that is "
        f"{_describe(enrolled.gateway_name, enrolled.gateway_id)} cannot be seen: its database or its name is another.",
        next_step=f"If it is, restored or renamed, remove {spool.generation} and {spool.gateway_name} and enrol again "
        "with a new code; if not, name another, empty spool in the agent's config.",
    )


def _describe(name: str, gateway_id: str) -> str:
    return f"the gateway {name!r} (id {gateway_id[:8]})" if gateway_id else f"the gateway {name!r}"


def _read(place: Path) -> str:
    try:
        return (files.read_bytes(place, 200) or b"").decode(errors="replace").strip()
    except OSError as error:
        raise explain_os_error(error, place) from error
