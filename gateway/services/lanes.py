"""How many requests of one kind run at once: of one caller, and of all together. Who comes beyond is told when to try.

Nobody waits in line: a request that waits holds a connection, and its caller learns nothing.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Final, Literal

from gateway.errors import TooManyError, UnavailableError

__all__ = ["LaneName", "Lanes"]

LaneName = Literal["reports", "bytes", "polls", "files"]
_RETRY_AFTER_S: Final = 1
# Of one caller, of all. reports: an agent's batches; bytes: what else it delivers; polls: it has one, and those of its
# last runs may still wait; files: logs and outputs for users.
_LIMITS: Final[dict[LaneName, tuple[int, int]]] = {
    "reports": (1, 8), "bytes": (12, 64), "polls": (16, 1024), "files": (8, 128),
}  # fmt: skip


class Lanes:
    """The lanes of one gateway."""

    def __init__(self) -> None:
        self._inside: dict[LaneName, Counter[str]] = {name: Counter() for name in _LIMITS}

    @contextlib.contextmanager
    def enter(self, lane: LaneName, caller: str) -> Iterator[None]:
        """Be inside. Raises TooManyError (429), UnavailableError (503, `busy`)."""
        inside, (each, total) = self._inside[lane], _LIMITS[lane]
        if inside[caller] >= each:
            raise TooManyError(
                f"{caller} has {each} requests of this kind under way. More at once are not allowed.",
                key="too_many_at_once",
                title="Too many requests at once",
                next_step="Send it again when one of them has ended.",
                retry_after_s=_RETRY_AFTER_S,
            )
        if inside.total() >= total:
            raise UnavailableError(
                f"The gateway serves {total} requests of this kind now. More at once are not possible.",
                key="busy",
                next_step="Send it again in a moment.",
                retry_after_s=_RETRY_AFTER_S,
            )
        inside[caller] += 1
        try:
            yield
        finally:
            inside[caller] -= 1
            if not inside[caller]:
                del inside[caller]
