"""How many requests and uploads each user and agent has at once, and how many it may have."""

import contextlib
from collections import Counter
from collections.abc import Iterator

from gateway.errors import TooManyError, UnavailableError
from gateway.settings import GatewaySettings
from gateway.values import AgentIdentity, User

__all__ = ["UsersLoad"]

_RETRY_S = 2


class UsersLoad:
    """Counts what runs now; what has ended is forgotten."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._requests: Counter[str] = Counter()
        self._uploads: Counter[str] = Counter()

    @contextlib.contextmanager
    def request(self, caller: User | AgentIdentity) -> Iterator[None]:
        """Count a request until the block ends. Raises TooManyError (too_many_requests)."""
        name, allowed = _name(caller), self._settings.max_requests_per_user
        with _counted(self._requests, name, allowed, f"{allowed} of your requests are not answered yet."):
            yield

    @contextlib.contextmanager
    def upload(self, caller: User | AgentIdentity) -> Iterator[None]:
        """Count an upload until the block ends. Raises TooManyError (too_many_uploads), UnavailableError."""
        name, allowed = _name(caller), self._settings.max_uploads_per_user
        if self._uploads.total() >= self._settings.max_uploads:
            raise UnavailableError(
                f"The gateway receives {self._uploads.total()} uploads now, as many as it may.",
                key="too_many_uploads",
                retry_after_s=_RETRY_S,
                next_step="Send it again in a few seconds (with the same Idempotency-Key).",
            )
        with _counted(self._uploads, name, allowed, f"{allowed} of your uploads are still on their way."):
            yield


@contextlib.contextmanager
def _counted(counts: Counter[str], name: str, allowed: int, message: str) -> Iterator[None]:
    if counts[name] >= allowed:
        raise TooManyError(
            f"{message} More are not taken at once.", title="Too many requests at once", retry_after_s=_RETRY_S
        )
    counts[name] += 1
    try:
        yield
    finally:
        counts[name] -= 1
        if not counts[name]:
            del counts[name]


def _name(caller: User | AgentIdentity) -> str:
    return f"user {caller.username}" if isinstance(caller, User) else f"agent {caller.agent_id}"
