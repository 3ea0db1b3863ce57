"""Where the demo keeps its things, and the processes that it left running."""

import os
import signal
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError

__all__ = ["Place", "end_process", "find_place", "is_running", "read_pid"]

DEFAULT_PORT = 8008


@dataclass(frozen=True)
class Place:
    """The folder `.demo` of a checkout, and the loopback port of its gateway."""

    checkout: Path
    port: int = DEFAULT_PORT

    @property
    def url(self) -> str:
        """Where the gateway answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def root(self) -> Path:
        """`.demo`."""
        return self.checkout / ".demo"

    @property
    def lab(self) -> Path:
        """The lab's Slurm."""
        return self.root / "slurm"

    @property
    def standin(self) -> Path:
        """The stand-in for Slurm."""
        return self.root / "standin"

    @property
    def spool(self) -> Path:
        """The spool that gateway and agent share."""
        return self.root / "spool"

    @property
    def image(self) -> Path:
        """The Python environment that stands for the image `sklearn_sample_latest`."""
        return self.root / "image"

    @property
    def datasets(self) -> Path:
        """The site's datasets folder."""
        return self.root / "datasets"

    @property
    def gateway_config(self) -> Path:
        """The gateway's config file."""
        return self.root / "gateway.toml"

    @property
    def agent_config(self) -> Path:
        """The agent's config file."""
        return self.root / "agent.toml"

    @property
    def credential(self) -> Path:
        """The agent's credential."""
        return self.root / "agent.credential"

    @property
    def secrets(self) -> Path:
        """The admin's password and token, for the next `make demo`."""
        return self.root / "secrets.json"

    @property
    def env(self) -> Path:
        """What a shell sources to use the running demo."""
        return self.root / "env"

    def pid(self, part: str) -> Path:
        """Where the process id of a part stands."""
        return self.root / f"{part}.pid"

    def log(self, part: str) -> Path:
        """What a part printed."""
        return self.root / f"{part}.log"


def find_place(checkout: Path, wished_port: str = "") -> Place:
    """Return the demo's place; its port is the wished one, else that of the last time. Raises LabError."""
    place = Place(checkout, _read_port(Place(checkout).gateway_config))
    if not wished_port:
        return place
    if not wished_port.isascii() or not wished_port.isdigit() or not 0 < int(wished_port) < 65536:
        raise LabError(f"DEMO_PORT is {wished_port!r}; it can be a number from 1 to 65535.")
    if int(wished_port) != place.port and is_running(place.pid("gateway"), "mltm-gateway"):
        raise LabError(f"The demo already runs at {place.url}. To move it: make demo-down, then this again.")
    return Place(checkout, int(wished_port))


def _read_port(config: Path) -> int:
    try:
        return int(tomllib.loads(config.read_text())["port"])
    except (FileNotFoundError, ValueError, KeyError):
        return DEFAULT_PORT


def read_pid(path: Path) -> int | None:
    """Read a process id; None where there is none."""
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


def is_running(path: Path, word: str) -> bool:
    """True where the process of a pid file runs and is ours: its command line has the word in it."""
    pid = read_pid(path)
    if pid is None:
        return False
    try:
        return word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def end_process(path: Path, word: str, *, patience_s: float = 15.0) -> bool:
    """End the process of a pid file, first politely; True where there was one."""
    if not is_running(path, word):
        path.unlink(missing_ok=True)
        return False
    pid = read_pid(path)
    for number in (signal.SIGTERM, signal.SIGKILL):
        if pid is not None and is_running(path, word):
            os.kill(pid, number)
        deadline = time.monotonic() + patience_s
        while is_running(path, word) and time.monotonic() < deadline:
            time.sleep(0.1)
    path.unlink(missing_ok=True)
    return True
