"""Type=notify, WatchdogSec and TimeoutStopSec of the units, with a socket in systemd's place."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.house import BIN
from tests.ops.agent_process import AgentSite
from tests.ops.test_systemd import UNITS

pytestmark = [pytest.mark.long, pytest.mark.timeout(90)]
HUNG = """
import threading
from agent.cli import main
from agent.daemon.tick import Tick
Tick.run = lambda self: threading.Event().wait()
main()
"""


class Systemd:
    """What systemd hears. It always listens: a notification to a full socket would stop the service."""

    def __init__(self, place: socket.socket) -> None:
        self._place, self._news = place, threading.Condition()
        self.heard: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while message := self._place.recv(4096).decode():
            with self._news:
                self.heard += message.split("\n")
                self._news.notify_all()

    def wait(self, word: str, times: int = 1) -> None:
        """Wait until a word was heard so many times, counted from the start."""
        with self._news:
            assert self._news.wait_for(lambda: self.heard.count(word) >= times, 30), self.heard

    def wait_silence(self, silence_s: float) -> None:
        """Wait until nothing was heard for so long."""
        with self._news:
            while self._news.wait(silence_s):
                pass


def read_unit(part: str, name: str) -> str:
    found = re.search(rf"^{name}=(.*)$", (UNITS / f"mltm-{part}.service").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


@contextmanager
def started(
    argv: list[str], watchdog_s: float, env: Mapping[str, str]
) -> Iterator[tuple[Systemd, subprocess.Popen[str]]]:
    """Start a service as systemd starts one; whatever is left of it is killed."""
    name = f"@mltm-test-{os.getpid()}-{time.monotonic_ns()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as place:
        place.bind("\0" + name[1:])
        known = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": str(int(watchdog_s * 1e6))}
        environ = {**os.environ, **known, **env}
        with subprocess.Popen(
            argv, env=environ, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        ) as process:
            try:
                yield Systemd(place), process
            finally:
                process.kill()
                place.shutdown(socket.SHUT_RD)


def end(systemd: Systemd, process: subprocess.Popen[str], part: str) -> str:
    """TERM, and wait as long as the unit lets it; what it wrote."""
    process.send_signal(signal.SIGTERM)
    written = process.communicate(timeout=float(read_unit(part, "TimeoutStopSec")))[1]
    systemd.wait("STOPPING=1")
    assert process.returncode == 0, written
    assert "Traceback" not in written
    return written


@pytest.fixture
def agent(tmp_path: Path) -> AgentSite:
    site = AgentSite(tmp_path)
    site.bind()
    return site


def test_the_agent_says_that_it_is_ready_alive_and_leaving(agent: AgentSite) -> None:
    with started(agent.argv("run"), float(read_unit("agent", "WatchdogSec")), {}) as (systemd, process):
        systemd.wait("READY=1")
        systemd.wait("WATCHDOG=1")
        written = end(systemd, process, "agent")

    assert systemd.heard.index("READY=1") < systemd.heard.index("STOPPING=1")
    assert "agent_stopped" in written


def test_the_agent_says_so_again_and_again(agent: AgentSite) -> None:
    with started(agent.argv("run"), 0.3, {}) as (systemd, process):
        systemd.wait("WATCHDOG=1", 5)
        end(systemd, process, "agent")


def test_a_tick_that_hangs_silences_the_watchdog_and_hinders_no_stop(agent: AgentSite) -> None:
    agent.tables = "[slurm]\nsbatch_timeout_s = 0.5\nquery_timeout_s = 0.5\n"
    argv = [sys.executable, "-c", HUNG, *agent.argv("run")[1:]]
    with started(argv, 0.3, {}) as (systemd, process):
        systemd.wait("WATCHDOG=1")
        systemd.wait_silence(5)
        written = end(systemd, process, "agent")

    assert '"event": "tick_stuck"' in written


def test_slurms_longest_call_is_no_tick_that_hangs(agent: AgentSite) -> None:
    agent.tables = "[slurm]\nsbatch_timeout_s = 0.1\nquery_timeout_s = 60\n"
    argv = [sys.executable, "-c", HUNG, *agent.argv("run")[1:]]
    with started(argv, 0.3, {}) as (systemd, process):
        systemd.wait("WATCHDOG=1", 15)  # for longer than three times the shorter limit
        end(systemd, process, "agent")


def build_gateway_argv(folder: Path) -> list[str]:
    config = folder / "gateway.toml"
    config.write_text(f'host = "127.0.0.1"\nport = 0\ndata_dir = "{folder}/gateway"\nname = "test"\n')
    return [str(BIN / "mltm-gateway"), "serve", "--config", str(config)]


def test_the_gateway_says_so_as_often_as_systemd_wants_to_hear(tmp_path: Path) -> None:
    with started(build_gateway_argv(tmp_path), 0.3, {}) as (systemd, process):
        systemd.wait("WATCHDOG=1", 5)
        end(systemd, process, "gateway")


def test_the_gateway_says_that_it_is_ready_alive_and_leaving(tmp_path: Path) -> None:
    with started(build_gateway_argv(tmp_path), float(read_unit("gateway", "WatchdogSec")), {}) as (systemd, process):
        systemd.wait("READY=1")
        systemd.wait("WATCHDOG=1")
        end(systemd, process, "gateway")

    assert systemd.heard.index("READY=1") < systemd.heard.index("STOPPING=1")


@pytest.mark.parametrize("part", ["agent", "gateway"])
def test_the_units_tell_systemd_to_listen(part: str) -> None:
    assert (read_unit(part, "Type"), read_unit(part, "NotifyAccess")) == ("notify", "main")
