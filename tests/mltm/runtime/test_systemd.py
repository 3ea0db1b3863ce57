import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mltm.runtime.systemd import Notifier


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as place:
        place.bind(str(tmp_path / "notify"))
        place.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))  # sdnotify itself reads the environment
        yield place


def test_systemd_is_told_in_its_own_words(place: socket.socket) -> None:
    with closing(Notifier(os.environ)) as notifier:
        notifier.ready()
        notifier.alive("Listens at https://größe.example")
        notifier.stopping()

    assert [place.recv(4096) for _ in range(3)] == [
        b"READY=1", b"WATCHDOG=1\nSTATUS=Listens at https://gr??e.example", b"STOPPING=1",
    ]  # fmt: skip


@pytest.mark.parametrize(("period", "every_s"), [("60000000", 20.0), ("300000", 0.1), ("", None), ("soon", None)])
def test_it_says_that_it_is_alive_three_times_in_systemds_period(
    place: socket.socket, period: str, every_s: float | None
) -> None:
    with closing(Notifier({**os.environ, "WATCHDOG_USEC": period})) as notifier:
        assert notifier.every_s == every_s


def test_without_systemd_it_is_silent() -> None:
    with closing(Notifier({"WATCHDOG_USEC": "60000000"})) as notifier:
        notifier.ready()
        assert notifier.every_s is None
