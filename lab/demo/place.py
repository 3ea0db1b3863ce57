"""Where the demo keeps its things, and the processes that it left running."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.processes import Process, is_running, read_pids, record_pid, stop

__all__ = ["Place", "end_process", "find_process", "read_place"]

_DEFAULT_PORT = 8008


@dataclass(frozen=True)
class Place:
    """The demo's folder and its gateway's loopback port: `.demo` of the checkout and 8008, unless others are named."""

    checkout: Path
    root: Path
    port: int = _DEFAULT_PORT

    @property
    def url(self) -> str:
        """Where the gateway answers."""
        return f"http://127.0.0.1:{self.port}"

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
    def credential(self) -> Path:
        """The agent's credential."""
        return self.root / "agent.uplink.credential"

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

    def config(self, part: str) -> Path:
        """The config file of the gateway or the agent."""
        return self.root / f"{part}.toml"

    def pid_file(self, part: str) -> Path:
        """Where the number of a part's process stands, for a person and his scripts."""
        return self.root / f"{part}.pid"

    def log(self, part: str) -> Path:
        """What a part printed."""
        return self.root / f"{part}.log"


def read_place(checkout: Path, environment: Mapping[str, str]) -> Place:
    """Read the demo's place and port. Without DEMO_PORT it is the last port again. Raises LabError."""
    root = Path(environment.get("DEMO_DIR") or checkout / ".demo").resolve()
    place = Place(checkout, root, _read_last_port(root))
    wished = environment.get("DEMO_PORT")
    if wished is None:
        return place
    if not wished.isascii() or not wished.isdigit() or not 0 < int(wished) < 65_536:
        raise LabError(f"DEMO_PORT is {wished!r}; give a number from 1 to 65535.")
    if int(wished) != place.port and find_process(place, "gateway"):
        raise LabError(f"The demo already runs at {place.url}. To move it: make demo-down, then this again.")
    return Place(checkout, root, int(wished))


def _read_last_port(root: Path) -> int:
    try:
        return int(tomllib.loads(Place(root, root).config("gateway").read_text())["port"])
    except (FileNotFoundError, ValueError, KeyError):
        return _DEFAULT_PORT


def find_process(place: Place, part: str) -> Process | None:
    """Return the process of the gateway or the agent. None if it does not run."""
    process = read_pids(place.root).get(part)
    return process if process is not None and is_running(process) else None


def end_process(place: Place, part: str) -> bool:
    """End a part's process, first with TERM. True if there was one."""
    process = find_process(place, part)
    if process is None:
        return False
    stop([process], timeout_s=15)
    record_pid(place.root, part, None)
    place.pid_file(part).unlink(missing_ok=True)
    return True
