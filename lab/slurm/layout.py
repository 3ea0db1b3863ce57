"""What a lab is and where its files lie: options, ports, folders, and the record of them."""

import contextlib
import hashlib
import json
import os
import pwd
import secrets
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.errors import LabError
from lab.files import write_json

NODES = ("n1", "n2", "n3")
CPUS_PER_NODE = 4
ACCOUNT = "twinscie"
CLUSTER = "lab"
DATABASE = "slurm_acct_db"
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
    enforce_part_limits: bool = False  #: refuse at sbatch what no partition allows, as many sites do


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
    def ready_mark(self) -> Path:
        """A file that is there once the lab came up wholly; an `up` that was killed before leaves no lab to use."""
        return self.dir / "ready"

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
    owner = folder.stat().st_uid if folder.exists() else os.geteuid()  # root may take down another user's lab
    return Path(f"/tmp/lab-{owner}-{name}")  # noqa: S108 - TMPDIR may be long too; make_private_folder checks the owner


def make_private_folder(folder: Path, mode: int = 0o711) -> None:
    """Make `folder` (or take the one that is there) and be sure that it is ours and no link."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabError(f"{folder}: cannot create it ({error.strerror}). Give another folder with --dir.") from error
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise LabError(f"{folder} belongs to somebody else. Remove it, or give another folder with --dir.")
    folder.chmod(mode)


def read_user_name() -> str:
    """Return the name of the Unix user that this process runs as.

    Not getpass.getuser(): LOGNAME and USER go on naming the user before `su`.
    """
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise LabError(
            f"User id {os.geteuid()} has no name here, and Slurm asks for one. Run the lab as a user that has a name."
        ) from None


@contextlib.contextmanager
def reserved_ports(wished: Ports | None) -> Iterator[Ports]:
    """Choose ports that nobody uses, the `wished` ones if they are free; no other lab gets them within the block."""
    with contextlib.ExitStack() as held:
        if wished is not None and all(_reserve(port, held) for port in list_ports(wished)):
            yield wished
            return
        taken: list[int] = []
        while len(taken) < len(NODES) + 2:
            port = secrets.SystemRandom().randrange(*PORT_RANGE)  # not `random`: two processes may share a seed
            if _reserve(port, held):
                taken.append(port)
        yield Ports(taken[0], taken[1], tuple(taken[2:]))


def list_ports(ports: Ports) -> list[int]:
    """Return all ports of a lab."""
    return [ports.slurmctld, ports.slurmdbd, *ports.slurmd]


def _reserve(port: int, held: contextlib.ExitStack) -> bool:
    """Bind a port without listening; Linux lets a daemon that sets SO_REUSEADDR, as Slurm's do, listen there still."""
    holder = held.enter_context(socket.socket())
    try:
        holder.bind(("", port))
    except OSError:
        return False
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return True


def write_lab(lab: Lab) -> None:
    """Keep the lab's options and ports in `lab.json`."""
    fields = {"options": asdict(lab.options) | {"dir": str(lab.dir)}, "ports": asdict(lab.ports)}
    write_json(lab.dir / "lab.json", fields)


def read_lab(folder: Path) -> Lab | None:
    """Read the lab kept in `folder`. None if there never was one."""
    try:
        fields = json.loads((folder / "lab.json").read_text(encoding="utf-8"))
        options = LabOptions(**fields["options"] | {"dir": folder})
        ports = Ports(**fields["ports"] | {"slurmd": tuple(fields["ports"]["slurmd"])})
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise LabError(
            f"Cannot read {folder}/lab.json ({error}). Remove the folder, or give another one with --dir."
        ) from error
    return Lab(options, ports)
