"""Makes sure that Slurm's programs are there: installs Debian's packages as root, or says what to install."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from lab.errors import LabError

# What a lab starts or calls, and the Debian package that brings it.
PROGRAMS = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "squeue": "slurm-client",
}
ACCOUNTING_PROGRAMS = {
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
}
GROUND_PROGRAMS = {"fusermount3": "fuse3", "faketime": "faketime"}  # file systems and clocks that fault injection makes
# What the tests call besides Slurm: a bare Debian has some of these only because another package wants them.
TEST_PROGRAMS = {
    **GROUND_PROGRAMS,
    "curl": "curl",
    "openssl": "openssl",
    "systemd-analyze": "systemd",
    "git": "git",
}
# A browser is large, so it comes with Slurm only: `make test`, `make attack`.
BROWSER_PROGRAMS = {"chromium": "chromium"}
BASE_PACKAGE = "slurm-wlm-basic-plugins"
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"  # an ordinary user's PATH often leaves these out
POLICY = Path("/usr/sbin/policy-rc.d")
WITHOUT = "Without Slurm there is the stand-in: python -m lab standin-up --dir DIR, or DEMO_SLURM=standin make demo."


def find_program(name: str) -> str | None:
    """Return where a program is, the system administrator's folders included."""
    return shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":" + SBIN)


def missing_packages(wanted: Mapping[str, str]) -> list[str]:
    """Return the Debian packages of those programs that are not here."""
    return sorted({package for program, package in wanted.items() if find_program(program) is None})


def ensure_programs(*, accounting: bool) -> None:
    """Install what a lab lacks, or raise with the command that a person with root should give."""
    wanted = PROGRAMS | (ACCOUNTING_PROGRAMS if accounting else {})
    ensure_tools(wanted, besides=(BASE_PACKAGE,), what="Slurm's programs", otherwise=WITHOUT)


def ensure_tools(
    wanted: Mapping[str, str], *, besides: tuple[str, ...] = (), what: str = "Programs", otherwise: str = ""
) -> None:
    """Install the packages of the programs (name: package) that are not here, and `besides` then. Raises LabError."""
    missing = missing_packages(wanted)
    if not missing:
        return
    packages = sorted({*besides, *missing})
    command = "apt-get update && apt-get install -y --no-install-recommends " + " ".join(packages)
    if shutil.which("apt-get") is None:
        raise LabError(
            f"{what} are missing here, and there is no apt-get to install them with. On Debian 12 or newer "
            f"they are in: {' '.join(packages)}. {otherwise}"
        )
    if os.geteuid() != 0:
        raise LabError(
            f"{what} are missing here, and installing them takes root. Ask an administrator for: {command}\n{otherwise}"
        )
    _install(packages, otherwise)
    if left := missing_packages(wanted):
        raise LabError(f"apt-get went well but {', '.join(left)} still lack their programs. Try by hand: {command}")


def _install(packages: list[str], otherwise: str) -> None:
    print(f"lab: installing {' '.join(packages)} …", file=sys.stderr, flush=True)
    with _no_services_started():
        _run_apt_get(otherwise, "update", "-q")
        # a fresh machine's own updates may hold the lock for a while
        options = ("-y", "-q", "-o", "DPkg::Lock::Timeout=300", "--no-install-recommends")
        _run_apt_get(otherwise, "install", *options, *packages)


def _run_apt_get(otherwise: str, *arguments: str) -> None:
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    done = subprocess.run(["apt-get", *arguments], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-800:]
        raise LabError(f"apt-get {' '.join(arguments)} failed ({done.returncode}): {said}\n{otherwise}")


@contextlib.contextmanager
def _no_services_started() -> Iterator[None]:
    """Keep Debian from starting a system-wide munge and MariaDB with the packages: nobody asked for those."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def read_slurm_version() -> tuple[int, int]:
    """Return Slurm's version as (22, 5)."""
    text = subprocess.run([str(find_program("slurmctld")), "-V"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"(\d+)\.(\d+)", text)
    if found is None:
        raise LabError(f"slurmctld -V answered {text!r}, which names no version.")
    return int(found[1]), int(found[2])
