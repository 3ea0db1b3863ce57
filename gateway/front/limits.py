"""How long a client may take, and how many connections there may be: the numbers of the front."""

import resource
from dataclasses import dataclass, replace

import structlog

from gateway.settings import GatewaySettings

__all__ = [
    "MAX_FILES",
    "Limits",
    "count_connections",
    "count_files",
    "fit_limits",
    "raise_file_limit",
    "read_file_limit",
]

_log = structlog.get_logger(__name__)
MAX_FILES = 65_536  # far more than is needed; the hard limit may be a thousand million
_MIN_SPARE_FILES = 64


@dataclass(frozen=True)
class Limits:
    """What the front allows. Times in seconds."""

    connections: int = 2000
    connections_per_address: int = 128
    handshake_s: float = 10.0
    header_s: float = 10.0  #: from the connection, or from the next request's first byte, to the end of its header
    idle_s: float = 75.0  #: between two requests; longer than the 60 s of usual proxies
    body_window_s: float = 30.0  #: in each such time of waiting for the client …
    body_window_bytes: int = 30 * 1024  #: … so many bytes of a body must come
    unread_s: float = 60.0  #: so long a client may take nothing of an answer
    closing_s: float = 10.0  #: so long may the last bytes take once the connection is to end
    look_every_s: float = 1.0


def fit_limits(settings: GatewaySettings, files: int) -> Limits:
    """The limits of these settings, with fewer connections if this process may only open so many `files`."""
    limits = Limits(connections=settings.max_connections, connections_per_address=settings.max_connections_per_address)
    possible = count_connections(files)
    if possible < limits.connections:
        _log.warning("fewer_connections", allowed=possible, wanted=limits.connections, open_files=files)
    return replace(limits, connections=min(possible, limits.connections))


def count_connections(files: int) -> int:
    """So many connections there may be with so many open files; the rest is for the database, uploads and spools."""
    return max(1, files - max(_MIN_SPARE_FILES, files // 4))


def count_files(connections: int) -> int:
    """The smallest limit of open files that allows so many connections."""
    return max(connections + _MIN_SPARE_FILES, (connections - 1) * 4 // 3 + 1)


def read_file_limit() -> int:
    """The limit of open files that this process could have."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)


def raise_file_limit() -> int:
    """Raise this process's limit of open files as far as it may. Returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = read_file_limit()
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return MAX_FILES if soft == resource.RLIM_INFINITY else soft
