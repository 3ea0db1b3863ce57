"""Who is connected. In a full house, who keeps us waiting longest makes room for who comes."""

import asyncio
import socket
from dataclasses import dataclass

from gateway.front.connection import Connection
from gateway.front.limits import Limits

__all__ = ["Seat", "Seats"]


@dataclass(eq=False)
class Seat:
    """The place of one connection; `accepted` is there until the handshake begins, `connection` after it."""

    address: str
    accepted: socket.socket | None = None
    connecting: asyncio.Task[None] | None = None
    connection: Connection | None = None

    @property
    def is_waiting(self) -> bool:
        """True while it keeps us waiting for a request."""
        return self.connection is None or not self.connection.is_busy

    def end(self) -> None:
        """End the connection, or its handshake, at once."""
        if self.connection is not None:
            self.connection.abort()
        elif self.connecting is not None:
            self.connecting.cancel()
        if self.accepted is not None:
            self.accepted.close()


class Seats:
    """All connections, of all and of each address, in the order in which they began to wait for a request.

    A full house is found by the thousand a second under attack, so nothing here looks at all of them.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._all: dict[Seat, None] = {}
        self._of: dict[str, dict[Seat, None]] = {}

    def list_taken(self) -> list[Seat]:
        """Every seat that is taken."""
        return list(self._all)

    def is_full_for(self, address: str) -> bool:
        """True if this address has as many connections as it may have."""
        return len(self._of.get(address, ())) >= self._limits.connections_per_address

    @property
    def is_full(self) -> bool:
        """True if no address may have another connection."""
        return len(self._all) >= self._limits.connections

    def take(self, address: str, accepted: socket.socket | None = None) -> Seat:
        """Count a new connection."""
        seat = Seat(address, accepted)
        self._add(seat)
        return seat

    def begin_to_wait(self, seat: Seat) -> None:
        """It has got an answer, and waits for the next request from now on."""
        if seat in self._all:
            self.leave(seat)
            self._add(seat)

    def leave(self, seat: Seat) -> None:
        """The connection has ended; again is harmless."""
        if seat not in self._all:
            return
        del self._all[seat]
        own = self._of[seat.address]
        del own[seat]
        if not own:
            del self._of[seat.address]

    def make_room(self, address: str | None = None) -> bool:
        """End the connection (of this address) that waits longest without a request; False if each has one."""
        taken = self._all if address is None else self._of.get(address, {})
        longest = next((seat for seat in taken if seat.is_waiting), None)
        if longest is None:
            return False
        self.leave(longest)
        longest.end()
        return True

    def _add(self, seat: Seat) -> None:
        self._all[seat] = None
        self._of.setdefault(seat.address, {})[seat] = None
