"""Runs a command in a Debian root (`lab.roots.roots`): own mounts and processes, the host's network; nothing stays."""

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.cache import remove_tree
from lab.errors import LabError

__all__ = ["ENTER", "PATH", "USER", "USER_ID", "build_enter_argv", "make_writable", "run_in_root"]

ENTER = Path(__file__).with_name("enter.sh")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SCRATCH = "lab-root-"
USER, USER_ID = "lab", 63210  # an id that machines do not give to people


def build_enter_argv(
    root: Path, scratch: Path, argv: Sequence[str], *, as_user: bool, read: Sequence[Path], write: Sequence[Path]
) -> list[str]:
    """Build the whole command line. Raises LabError for a path that a mount option cannot hold."""
    for path in (root, scratch):
        if any(mark in str(path) for mark in ":,\\"):
            raise LabError(f"The path {str(path)!r} cannot be mounted as a layer. Set MLTM_CACHE and TMPDIR to others.")
    user = USER if as_user else "root"
    binds = [*(f"{path}:ro" for path in read), *map(str, write)]
    # pdeathsig and kill-child: whoever is killed, everything within goes with him.
    namespaces = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child"]
    return [*namespaces, "bash", str(ENTER), str(root), str(scratch), user, str(USER_ID), *binds, "--", *argv]


def run_in_root(
    root: Path,
    argv: Sequence[str],
    *,
    as_user: bool = True,
    folder: Path = Path("/"),
    read: Sequence[Path] = (),
    write: Sequence[Path] = (),
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run `argv` in `root` and return its exit code; needs root itself.

    `read`, `write`: folders and files of the host that are there under their own paths, `read` for reading only.
    /tmp and /srv are on disk, everything else that is written is kept in memory; both go at the end. The command
    starts in `folder` and gets `environment` and nothing else of the caller's.
    """
    home = f"/home/{USER}" if as_user else "/root"
    known = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": home, "USER": USER if as_user else "root"}
    _sweep()
    scratch = Path(tempfile.mkdtemp(prefix=f"{_SCRATCH}{os.getpid()}-"))
    scratch.chmod(0o711)
    try:
        command = build_enter_argv(root, scratch, argv, as_user=as_user, read=read, write=write)
        # The inner PATH is Debian's; the outer programs are found there too.
        return subprocess.run(command, env={**known, **(environment or {})}, cwd=folder, check=False).returncode
    finally:
        remove_tree(scratch)


def _sweep() -> None:
    """Remove the scratch folders of those who were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*-*"):
        if not Path("/proc", path.name.removeprefix(_SCRATCH).partition("-")[0]).exists():
            remove_tree(path)


def make_writable(folder: Path) -> Path:
    """Make a folder of the host that the user inside may write to."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, USER_ID, USER_ID)
    return folder
