"""Clients that keep connections busy for nothing, from one address and from many: others get in all the same."""

import contextlib
import socket
import time
from collections.abc import Iterator, Sequence

from attack.guards import replace
from attack.product.clients import ask_from
from attack.product.house import House, open_house
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_SEATS, _SEATS_OF_ONE = 60, 20
_LATEST_S = 90.0  #: far more than any deadline of the gateway: so long nobody may be kept out
_BODY = "POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
_BEGINNINGS = {
    "nothing": b"", "half a header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    "half a body": f"{_BODY}Content-Length: 1000\r\n\r\nusername=a".encode(),
}  # fmt: skip


def run(trial: Trial) -> None:
    """The house has few seats, so that few clients fill it; each way is tried by one address and by many."""
    settings = (f"max_connections = {_SEATS}", f"max_connections_per_address = {_SEATS_OF_ONE}")
    ways = [(what, addresses) for addresses in (1, 10) for what in _BEGINNINGS]
    with open_house(trial, *settings) as house:
        for number in range(trial.tries):
            what, addresses = ways[number % len(ways)]
            with _filled(house, [f"127.3.{number % 200}.{n + 1}" for n in range(addresses)], _BEGINNINGS[what]):
                told = "" if _gets_in(house) else f"{what} from {addresses} addresses kept others out"
                trial.tally.count(told)


@contextlib.contextmanager
def _filled(house: House, addresses: Sequence[str], beginning: bytes) -> Iterator[None]:
    """Twice as many connections as there are seats, all of which have begun and none of which ends."""
    with contextlib.ExitStack() as stack:
        host, port = house.url.removeprefix("http://").split(":")
        for number in range(2 * _SEATS):
            address = addresses[number % len(addresses)]
            with contextlib.suppress(OSError):  # it was turned away
                one = stack.enter_context(socket.create_connection((host, int(port)), 10, (address, 0)))
                one.sendall(beginning)
        yield


def _gets_in(house: House) -> bool:
    """A new client from elsewhere tries until it has its answer."""
    until_s = time.monotonic() + _LATEST_S
    while ask_from("127.0.0.4", house.url, "GET", "/healthz", within_s=10).status != 200:
        if time.monotonic() > until_s:
            return False
        time.sleep(0.5)
    return True


def take_guard_out() -> None:
    """A gateway where who came first stays: no deadlines, and nobody makes room."""
    from gateway.front import pace, seats

    replace(pace.Pace, "look", lambda *_, **__: None)
    replace(seats.Seats, "make_room", lambda *_: False)
    replace(seats.Seats, "is_full_for", lambda *_: False)


SCENARIO = Scenario(
    threats="1.7, T11",
    tries_to="keep others out with connections that send half a header, half a body, or nothing",
    run=run,
    take_guard_out=take_guard_out,
    tries=12,
    control_tries=1,
)
