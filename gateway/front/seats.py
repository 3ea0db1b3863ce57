"""Who is connected. In a full house, who keeps us waiting longest makes room for who comes."""

import asyncio
import socket
from collections import Counter
from dataclasses import dataclass

from gateway.front.connection import Connection
from gateway.front.limits import Limits

__all__ = ["Seat", "Seats"]


@dataclass(eq=False)
class Seat:
    """The place of one connection; `accepted` is there until the handshake begins, `connection` after it."""

    address: str
    opened_s: float
    accepted: socket.socket | None = None
    connecting: asyncio.Task[None] | None = None
    connection: Connection | None = None

    def read_waited_s(self, now: float) -> float | None:
        """How long it has kept us waiting for a request; None while it has one."""
        return now - self.opened_s if self.connection is None else self.connection.waited_s

    def end(self) -> None:
        """End the connection, or its handshake, at once."""
        if self.connection is not None:
            self.connection.abort()
        elif self.connecting is not None:
            self.connecting.cancel()
        if self.accepted is not None:
            self.accepted.close()


class Seats:
    """All connections, counted for each address."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._taken: dict[Seat, None] = {}
        self._counts: Counter[str] = Counter()

    def list_taken(self) -> list[Seat]:
        """Every seat that is taken."""
        return list(self._taken)

    def is_full_for(self, address: str) -> bool:
        """True if this address has as many connections as it may have."""
        return self._counts[address] >= self._limits.connections_per_address

    @property
    def is_full(self) -> bool:
        """True if no address may have another connection."""
        return len(self._taken) >= self._limits.connections

    def take(self, address: str, now: float, accepted: socket.socket | None = None) -> Seat:
        """Count a new connection."""
        seat = Seat(address, now, accepted)
        self._taken[seat] = None
        self._counts[address] += 1
        return seat

    def leave(self, seat: Seat) -> None:
        """The connection has ended; again is harmless."""
        if seat in self._taken:
            del self._taken[seat]
            self._counts[seat.address] -= 1
            if not self._counts[seat.address]:
                del self._counts[seat.address]

    def make_room(self, now: float, address: str | None = None) -> bool:
        """End the connection (of this address) that waits longest without a request; False if each has one."""
        waiting = [
            (waited_s, seat)
            for seat in self._taken
            if (address is None or seat.address == address) and (waited_s := seat.read_waited_s(now)) is not None
        ]
        if not waiting:
            return False
        _, longest = max(waiting, key=lambda one: one[0])
        self.leave(longest)
        longest.end()
        return True
