"""Debian roots of other releases, for what this machine's own has not: a newer Slurm, Apptainer. Made by mmdebstrap.

A root is a folder in the cache, named after its release and packages; `lab.roots.enter` runs commands in it.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab.cache import make_key, make_once
from lab.errors import LabError
from lab.packages import ensure_tools

__all__ = ["BARE", "IMAGE_BASE", "SUITES", "RootSpec", "ensure_root", "missing_for_roots", "root_path"]

_SLURM = ("slurm-wlm", "slurm-client", "munge", "python3", "ca-certificates", "curl")
_ACCOUNTING = ("slurmdbd", "mariadb-server")
TOOLS = {"mmdebstrap": "mmdebstrap", "unshare": "util-linux", "setpriv": "util-linux"}


@dataclass(frozen=True)
class RootSpec:
    """A Debian release and what is installed besides its smallest set."""

    suite: str
    packages: tuple[str, ...]


# sid: Slurm 26.05 and Apptainer 1.4.5 (November 2026); trixie: Slurm 24.11. squashfuse and fuse2fs: without them
# Apptainer unpacks an image before each start. What CI builds is without accounting, which takes longer to fetch.
SUITES = {
    "sid": RootSpec("sid", (*_SLURM, "apptainer", "squashfuse", "fuse2fs")),
    "sid-slurm": RootSpec("sid", (*_SLURM, *_ACCOUNTING)),
    "trixie": RootSpec("trixie", (*_SLURM, *_ACCOUNTING)),
}
# What `make test-fresh` starts from: no more than a newcomer's machine has.
BARE = {
    suite: RootSpec(suite, ("ca-certificates", "git", "make", "python3", "python3-venv"))
    for suite in ("bookworm", "trixie")
}
# Stands in for the base images of singularity/*.def: Python 3.13.
IMAGE_BASE = RootSpec("trixie", ("ca-certificates", "python3", "python3-venv"))


def root_path(spec: RootSpec, cache: Path) -> Path:
    """Return where the root of `spec` lies, made or not."""
    return cache / "roots" / f"{spec.suite}-{make_key(spec.suite, *sorted(spec.packages))}"


def missing_for_roots() -> str:
    """Say why no root can be entered here. "" if one can."""
    if os.geteuid() != 0:
        return "Entering a Debian root of another release takes root (mount and PID namespaces)."
    namespaces = ["unshare", "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    done = subprocess.run(namespaces, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"This machine's root may not mount in a namespace of its own: {done.stderr.strip()}."
    return ""


def ensure_root(spec: RootSpec, cache: Path) -> Path:
    """Return the root of `spec`. Making it takes root, Debian's mirror and half a minute."""
    return make_once(root_path(spec, cache), lambda private: _build(spec, private))


def _build(spec: RootSpec, folder: Path) -> None:
    ensure_tools(TOOLS)
    print(f"lab: making a root of Debian {spec.suite} …", flush=True)
    mirror = find_mirror()
    # A mount namespace of its own: killed half-way, it leaves no /dev of the host mounted in what is then removed.
    # Valid-Until: sid's Release file expires within days on a mirror that stands still; its signature is checked.
    _run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "mmdebstrap", "--mode=root", "--variant=minbase",
         "--quiet", '--aptopt=Acquire::Check-Valid-Until "false"', f"--include={','.join(spec.packages)}",
         spec.suite, str(folder), mirror],
    )  # fmt: skip
    # No secrets are in it, and an ordinary user has to read all of it to make an image from it.
    _run(["find", str(folder), "-xdev", "!", "-type", "l", "-exec", "chmod", "a+rX", "{}", "+"])


def find_mirror() -> str:
    """Return the Debian mirror that this machine's apt uses. Raises LabError."""
    fields = "$(ORIGIN)|$(LABEL)|$(REPO_URI)"
    lines = _run(["apt-get", "indextargets", "--format", fields]).splitlines()
    known = [line.rpartition("|")[2] for line in lines if line.startswith("Debian|Debian|")]
    if not known:
        raise LabError("apt knows no Debian mirror here. Name one in /etc/apt/sources.list and run: apt-get update")
    return known[0]


def _run(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{argv[0]} failed with {done.returncode}: {(done.stderr or done.stdout).strip()[-800:]}")
    return done.stdout
