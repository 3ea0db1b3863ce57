"""Who asks, and from where: kept beside each request while it is handled, so that every part can say it in the log."""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from gateway.values import AgentIdentity, User

__all__ = ["Origin", "build_address_key", "current_origin", "entered", "name_caller"]


@dataclass(frozen=True)
class Origin:
    """Facts about a request, or about a command on this machine. What is not known is empty."""

    address: str = ""
    request_id: str = ""
    route: str = ""
    unix_user: str = ""
    user: str = ""
    user_id: str = ""
    agent_id: str = ""


_CURRENT: ContextVar[Origin] = ContextVar("origin", default=Origin())  # noqa: B039 - it is frozen


@contextmanager
def entered(origin: Origin) -> Iterator[None]:
    """Everything in the block comes from there."""
    token = _CURRENT.set(origin)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current_origin() -> Origin:
    """Where the request comes from that is being handled."""
    return _CURRENT.get()


def name_caller(caller: User | AgentIdentity) -> None:
    """From here on the request is this caller's: he has proved who he is."""
    if isinstance(caller, User):
        _CURRENT.set(replace(_CURRENT.get(), user=caller.username, user_id=caller.user_id))
    else:
        _CURRENT.set(replace(_CURRENT.get(), agent_id=caller.agent_id))


def build_address_key(address: str) -> str:
    """What counts as one address: of IPv6 the network /64, of which one machine may use all addresses."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    return str(ipaddress.ip_network((known, 64), strict=False)) if known.version == 6 else address
