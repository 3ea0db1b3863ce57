"""What a lab is and where its files lie: options, ports, folders, and the record of them."""

import hashlib
import json
import os
import random
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.errors import LabError

NODES = ("n1", "n2", "n3")
CPUS_PER_NODE = 4
ACCOUNT = "twinscie"
CLUSTER = "lab"
# A unix socket's path holds 107 bytes; slurmstepd's own needs some 35 of them behind our folder.
LONGEST_FOLDER = 60
# Below the range from which the kernel hands out outgoing ports, so that a stopped daemon finds its port free again.
PORT_RANGE = (20000, 32000)


@dataclass(frozen=True)
class LabOptions:
    """What can be chosen about a lab. Times in seconds."""

    dir: Path
    accounting: bool = False
    min_job_age_s: int = 30
    kill_wait_s: int = 30
    slurmd_timeout_s: int = 300
    over_memory_kill: bool = False


@dataclass(frozen=True)
class Ports:
    """The loopback ports of a lab's daemons; slurmd has one a node."""

    slurmctld: int
    slurmdbd: int
    slurmd: tuple[int, ...]


@dataclass(frozen=True)
class Lab:
    """A lab's folder with everything needed to reach it."""

    options: LabOptions
    ports: Ports

    @property
    def dir(self) -> Path:
        """The folder that holds the whole lab."""
        return self.options.dir

    @property
    def slurm_conf(self) -> Path:
        """The one file a Slurm command must be told about."""
        return self.dir / "slurm.conf"

    @property
    def env(self) -> dict[str, str]:
        """What to add to the environment of whoever uses this lab."""
        return {"SLURM_CONF": str(self.slurm_conf), "PATH": os.environ.get("PATH", os.defpath)}

    @property
    def run_dir(self) -> Path:
        """Where sockets lie: the lab's folder, or a short one under /tmp when its path is too long for a socket."""
        return short_folder(self.dir)

    @property
    def munge_socket(self) -> Path:
        """The lab's own munge socket."""
        return self.run_dir / "munge" / "munge.socket"

    @property
    def mariadb_socket(self) -> Path:
        """The socket of the lab's own MariaDB."""
        return self.run_dir / "mariadb.socket"

    @property
    def log_dir(self) -> Path:
        """One log a daemon."""
        return self.dir / "logs"

    def log_of(self, daemon: str) -> Path:
        """Return the log of one daemon (`slurmctld`, `slurmd-n1`, …)."""
        return self.log_dir / f"{daemon}.log"


def short_folder(folder: Path) -> Path:
    """Return `folder` itself, or a short name made from it when sockets would not fit below it."""
    if len(os.fsencode(folder)) <= LONGEST_FOLDER:
        return folder
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return Path(f"/tmp/lab-{os.getuid()}-{name}")  # noqa: S108 - TMPDIR may be long too; make_private_folder checks the owner


def make_private_folder(folder: Path, mode: int = 0o711) -> None:
    """Make `folder` (or take the one that is there) and be sure that it is ours and no link."""
    folder.mkdir(parents=True, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise LabError(f"{folder} belongs to somebody else. Remove it, or give another folder with --dir.")
    folder.chmod(mode)


def choose_ports() -> Ports:
    """Choose ports on which nobody listens now."""
    taken: list[int] = []
    while len(taken) < len(NODES) + 2:
        port = random.randrange(*PORT_RANGE)  # noqa: S311 - no secret
        if port not in taken and is_port_free(port):
            taken.append(port)
    return Ports(taken[0], taken[1], tuple(taken[2:]))


def is_port_free(port: int) -> bool:
    """Tell whether a daemon could listen on `port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def write_lab(lab: Lab) -> None:
    """Keep the lab's options and ports in `lab.json`."""
    fields = {"options": asdict(lab.options) | {"dir": str(lab.dir)}, "ports": asdict(lab.ports)}
    (lab.dir / "lab.json").write_text(json.dumps(fields, indent=1), encoding="utf-8")


def read_lab(folder: Path) -> Lab | None:
    """Read the lab kept in `folder`; None where there never was one."""
    try:
        fields = json.loads((folder / "lab.json").read_text(encoding="utf-8"))
        options = LabOptions(**fields["options"] | {"dir": folder})
        ports = Ports(**fields["ports"] | {"slurmd": tuple(fields["ports"]["slurmd"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise LabError(
            f"{folder}/lab.json cannot be read ({error}). Remove the folder, or name another one."
        ) from error
    return Lab(options, ports)
