"""`python -m lab` as a command, as this user or as an ordinary one, and what its labs leave behind."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.processes import Process, find_processes, read_proc_file, read_working_folder, stop
from lab.slurm.layout import short_folder

CHECKOUT = Path(__file__).resolve().parents[2]
USER = "nobody"


@dataclass(frozen=True)
class Commands:
    """How to call the lab: the words before it, and where its code lies."""

    prefix: tuple[str, ...]
    python: str
    code: Path

    def run(self, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.prefix, *argv], env=os.environ | env, cwd=self.code, capture_output=True, text=True, check=False
        )

    def lab(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.run(self.python, "-m", "lab", *arguments, **env)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command of the lab in a session of its own, as a terminal would."""
        argv = [*self.prefix, self.python, "-m", "lab", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(argv, cwd=self.code, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


AS_IT_IS = Commands((), sys.executable, CHECKOUT)


@contextmanager
def as_ordinary_user() -> Iterator[tuple[Commands, Path]]:
    """How an ordinary user calls the lab, and a folder of that user. The checkout may lie where others cannot look."""
    folder = Path(tempfile.mkdtemp(prefix="lab-user-", dir="/tmp"))
    folder.chmod(0o755)
    shutil.copytree(CHECKOUT / "lab", folder / "code" / "lab", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "own").mkdir()
    prefix: tuple[str, ...] = ()
    if os.geteuid() == 0:
        shutil.chown(folder / "own", USER)
        prefix = ("setpriv", f"--reuid={USER}", "--regid=nogroup", "--clear-groups", "--")
    try:
        yield Commands(prefix, _find_python(prefix), folder / "code"), folder / "own"
    finally:
        shutil.rmtree(folder)


def _find_python(prefix: tuple[str, ...]) -> str:
    test = "import sys; sys.exit(sys.version_info < (3, 11))"
    for python in (sys.executable, "/usr/bin/python3"):
        if subprocess.run([*prefix, python, "-c", test], capture_output=True, check=False).returncode == 0:
            return python
    raise AssertionError(f"{USER} can run no Python from 3.11 on here: neither {sys.executable} nor /usr/bin/python3")


@contextmanager
def ended_lab(folder: Path) -> Iterator[Path]:
    """A folder for a lab; whatever a failing test leaves of it is ended."""
    try:
        yield folder
    finally:
        stop(find_left(folder), sig=signal.SIGKILL)


def find_left(folder: Path) -> list[Process]:
    """Return the processes that have to do with a lab's folder, by what they were called with or where they are."""
    marks = {os.fsencode(folder), os.fsencode(short_folder(folder))}

    def is_of_lab(pid: int) -> bool:
        seen = read_proc_file(pid, "cmdline") + read_proc_file(pid, "environ") + read_working_folder(pid)
        return any(mark in seen for mark in marks)

    return find_processes(is_of_lab)
