"""Who makes room for whom."""

from typing import Any

from gateway.front.limits import Limits
from gateway.front.seats import Seat, Seats


class Fake:
    """A connection that only says if it has a request."""

    def __init__(self, *, is_busy: bool = False) -> None:
        self.is_busy, self.has_ended = is_busy, False

    def abort(self) -> None:
        self.has_ended = True


def sit(seats: Seats, address: str, *, is_busy: bool = False) -> Seat:
    seat, connection = seats.take(address), Fake(is_busy=is_busy)
    seat.connection = connection  # type: ignore[assignment]  # what a seat asks of it is there
    return seat


def list_ended(*sitting: Seat) -> list[bool]:
    connections: list[Any] = [seat.connection for seat in sitting]
    return [connection.has_ended for connection in connections]


def test_who_waits_longest_makes_room() -> None:
    seats = Seats(Limits(connections_per_address=3))
    busy, old, young = sit(seats, "a", is_busy=True), sit(seats, "a"), sit(seats, "a")
    assert (seats.is_full_for("a"), seats.is_full_for("b")) == (True, False)

    assert seats.make_room("a")

    assert list_ended(busy, old, young) == [False, True, False]
    assert not seats.is_full_for("a")


def test_who_had_an_answer_waits_from_then_on() -> None:
    seats = Seats(Limits())
    first, second = sit(seats, "a"), sit(seats, "a")
    seats.begin_to_wait(first)

    assert seats.make_room()

    assert list_ended(first, second) == [False, True]


def test_one_address_does_not_end_what_another_has() -> None:
    seats = Seats(Limits())
    other = sit(seats, "a")
    sit(seats, "b", is_busy=True)

    assert not seats.make_room("b")
    assert not seats.make_room("c")
    assert list_ended(other) == [False]


def test_all_that_is_taken_is_given_back() -> None:
    seats = Seats(Limits(connections=2, connections_per_address=2))
    taken = [sit(seats, "a"), sit(seats, "a")]
    assert seats.is_full
    for seat in [*taken, *taken]:
        seats.leave(seat)
        seats.begin_to_wait(seat)

    assert (seats.list_taken(), seats.is_full, seats.is_full_for("a")) == ([], False, False)
