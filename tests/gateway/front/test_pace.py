"""How long a client may take, with a clock of our own."""

import pytest

from gateway.front.limits import Limits
from gateway.front.pace import MAX_HEADER_BYTES, HeaderMeter, Lateness, Pace

LIMITS = Limits(
    header_s=10, idle_s=75, body_window_s=30, body_window_bytes=30_720, unread_s=60, closing_s=10, look_every_s=1
)


class Client:
    """A connection whose clock moves when the test says so."""

    def __init__(self) -> None:
        self.now, self.pace = 1000.0, Pace(LIMITS, 1000.0)
        self.is_busy = self.awaits_body = self.is_closing = False
        self.unsent = 0

    def wait(self, seconds: float, step_s: float = 1.0) -> Lateness | None:
        """Let time pass; what the client is late with first."""
        until = self.now + seconds
        while self.now < until:
            self.now += step_s
            late = self.pace.look(
                self.now,
                is_busy=self.is_busy,
                awaits_body=self.awaits_body,
                unsent=self.unsent,
                is_closing=self.is_closing,
            )
            if late is not None:
                return late
        return None

    def send(self, size: int) -> None:
        """Bytes come."""
        self.pace.hear(size, in_request=self.is_busy)

    def begin(self, *, with_body: bool = False) -> None:
        """The header is complete."""
        self.is_busy, self.awaits_body = True, with_body
        self.pace.begin()

    def finish(self) -> None:
        """The request is answered."""
        self.is_busy = self.awaits_body = False
        self.pace.finish()


def test_a_client_that_sends_nothing_is_late() -> None:
    client = Client()
    assert client.wait(10) is None
    assert client.wait(2) is Lateness.REQUEST


def test_single_bytes_do_not_make_the_time_for_a_header_longer() -> None:
    client = Client()
    for _ in range(10):
        client.send(1)
        assert client.wait(1) is None
    client.send(1)
    assert client.wait(1) is Lateness.HEADER


def test_an_idle_connection_may_wait_longer_but_its_next_header_may_not() -> None:
    client = Client()
    client.begin()
    client.finish()
    assert client.wait(70) is None
    client.send(1)
    assert client.wait(10) is None
    assert client.wait(2) is Lateness.HEADER


def test_an_idle_connection_ends() -> None:
    client = Client()
    client.begin()
    client.finish()
    assert client.wait(75) is None
    assert client.wait(2) is Lateness.REQUEST


def test_a_long_poll_is_not_late() -> None:
    client = Client()
    client.begin()
    assert client.wait(3600) is None


def test_100_mb_over_a_slow_line_are_taken() -> None:
    client = Client()
    client.begin(with_body=True)
    for _ in range(100_000_000 // 5_000):  # 40 kbit/s
        client.send(5_000)
        assert client.wait(1) is None


def test_a_line_that_stops_for_a_while_is_forgiven() -> None:
    client = Client()
    client.begin(with_body=True)
    for _ in range(5):
        client.send(100_000)
        assert client.wait(29) is None


@pytest.mark.parametrize("already", [0, 50_000_000])
def test_a_body_that_drips_is_late_however_much_came_before(already: int) -> None:
    client = Client()
    client.begin(with_body=True)
    client.send(already)
    client.wait(30)

    late = None
    for _ in range(31):
        client.send(100)
        late = late or client.wait(1)

    assert late is Lateness.BODY


def test_a_body_that_we_do_not_read_is_not_late() -> None:
    client = Client()
    client.begin(with_body=True)
    client.awaits_body = False  # the disk is slow, so the socket is not read
    assert client.wait(600) is None


def test_a_loop_that_stood_still_is_not_the_clients_fault() -> None:
    client = Client()
    client.begin(with_body=True)
    assert client.wait(3600, step_s=1800) is None


def test_who_takes_nothing_of_an_answer_is_late_and_who_takes_little_is_not() -> None:
    client = Client()
    client.begin()
    client.unsent = 1_000_000
    for _ in range(200):
        client.unsent -= 100
        assert client.wait(1) is None
    client.wait(59)
    assert client.wait(3) is Lateness.READING


def test_an_answer_that_is_taken_slowly_does_not_count_as_idle() -> None:
    client = Client()
    client.begin()
    client.finish()
    client.unsent = 1_000_000
    for _ in range(200):
        client.unsent -= 100
        assert client.wait(1) is None


def test_a_connection_that_does_not_end_is_ended() -> None:
    client = Client()
    client.is_closing = True
    assert client.wait(10) is None
    assert client.wait(2) is Lateness.READING


@pytest.mark.parametrize("size", [1, 7, 1000, MAX_HEADER_BYTES * 2])
def test_a_header_is_counted_in_pieces_of_any_size(size: int) -> None:
    def is_refused(sent: bytes) -> bool:
        meter = HeaderMeter()
        return any(meter.is_too_large(sent[place : place + size]) for place in range(0, len(sent), size))

    start = b"\r\n\r\nGET / HTTP/1.1\r\nX: "
    fits = MAX_HEADER_BYTES - len(start.lstrip()) - 4
    assert not is_refused(start + b"a" * fits + b"\r\n\r\n")
    assert not is_refused(start + b"\r\n\r\n" + b"body" * MAX_HEADER_BYTES)
    assert is_refused(start + b"a" * (fits + 1) + b"\r\n\r\n")
    assert is_refused(start + b"a" * MAX_HEADER_BYTES)
