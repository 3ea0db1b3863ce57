"""Where the demo keeps its things, and the processes that it left running."""

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError

__all__ = ["Place", "end_process", "is_running", "read_pid", "read_place"]


@dataclass(frozen=True)
class Place:
    """The demo's folder and port: `.demo` of the checkout and 8008, unless DEMO_DIR and DEMO_PORT say otherwise."""

    checkout: Path
    root: Path
    port: int = 8008

    @property
    def url(self) -> str:
        """Where the gateway listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def lab(self) -> Path:
        """The lab's Slurm, or the stand-in."""
        return self.root / "slurm"

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

    def config(self, part: str) -> Path:
        """The config file of the gateway or the agent; its process is known by it."""
        return self.root / f"{part}.toml"

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

    @property
    def shown_env(self) -> str:
        """That file as a person in the checkout names it."""
        is_inside = self.env.is_relative_to(self.checkout)
        return str(self.env.relative_to(self.checkout) if is_inside else self.env)

    def pid(self, part: str) -> Path:
        """Where the process id of a part stands."""
        return self.root / f"{part}.pid"

    def log(self, part: str) -> Path:
        """What a part printed."""
        return self.root / f"{part}.log"


def read_place(checkout: Path, environment: Mapping[str, str]) -> Place:
    """Read where this demo lies. Raises LabError."""
    port = environment.get("DEMO_PORT", "8008")
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        raise LabError(f"DEMO_PORT is {port!r}; it is a number from 1 to 65535.")
    return Place(checkout, Path(environment.get("DEMO_DIR") or checkout / ".demo").resolve(), int(port))


def read_pid(path: Path) -> int | None:
    """Read a process id; None where there is none."""
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


def is_running(place: Place, part: str) -> bool:
    """True where the process of a pid file runs and is this demo's: its command line names our config file."""
    pid = read_pid(place.pid(part))
    if pid is None:
        return False
    try:
        return os.fsencode(place.config(part)) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def end_process(place: Place, part: str, *, patience_s: float = 15.0) -> bool:
    """End a part's process, first politely; True where there was one."""
    was_running = is_running(place, part)
    pid = read_pid(place.pid(part))
    for number in (signal.SIGTERM, signal.SIGKILL):
        if pid is not None and is_running(place, part):
            os.kill(pid, number)
        deadline = time.monotonic() + patience_s
        while is_running(place, part) and time.monotonic() < deadline:
            time.sleep(0.1)
    place.pid(part).unlink(missing_ok=True)
    return was_running
