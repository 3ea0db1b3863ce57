"""Makes sure that Slurm's programs are there: installs Debian's packages as root, or says in words what to install."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
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
BASE_PACKAGE = "slurm-wlm-basic-plugins"
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"  # an ordinary user's PATH often leaves these out
POLICY = Path("/usr/sbin/policy-rc.d")


def find_program(name: str) -> str | None:
    """Return where a program is, the system administrator's folders included."""
    return shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":" + SBIN)


def missing_packages(wanted: Mapping[str, str]) -> list[str]:
    """Return the Debian packages of those programs that are not here."""
    return sorted({package for program, package in wanted.items() if find_program(program) is None})


def ensure_programs(*, accounting: bool) -> None:
    """Install what a lab lacks, or raise with the command that a person with root should give."""
    wanted = PROGRAMS | (ACCOUNTING_PROGRAMS if accounting else {})
    ensure_tools(
        wanted,
        besides=(BASE_PACKAGE,),
        what="Slurm's programs",
        otherwise=" Without them: python -m lab standin-up --dir DIR.",
    )


def ensure_tools(
    wanted: Mapping[str, str], *, besides: tuple[str, ...] = (), what: str = "Programs", otherwise: str = ""
) -> None:
    """Install the packages of the programs (name: package) that are not here, and `besides` then. Raises LabError."""
    packages = missing_packages(wanted)
    if not packages:
        return
    command = "apt-get update && apt-get install -y --no-install-recommends " + " ".join(packages)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise LabError(
            f"{what} are missing here ({', '.join(packages)}), and installing them takes root on Debian. "
            f"Ask an administrator for: {command}.{otherwise}"
        )
    _install([*besides, *packages])
    if left := missing_packages(wanted):
        raise LabError(f"apt-get went well but {', '.join(left)} still lack their programs. Try by hand: {command}")


def _install(packages: list[str]) -> None:
    print(f"lab: installing {' '.join(packages)} …", flush=True)
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    forbid_services = (
        not POLICY.exists()
    )  # the packages would start a system-wide munge and MariaDB, which nobody asked for
    if forbid_services:
        POLICY.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
        POLICY.chmod(0o755)
    try:
        for argv in (["apt-get", "update", "-q"], install):
            done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
            if done.returncode:
                raise LabError(f"{' '.join(argv)} failed ({done.returncode}): {(done.stderr or done.stdout)[-800:]}")
    finally:
        if forbid_services:
            POLICY.unlink(missing_ok=True)


def read_slurm_version() -> tuple[int, int]:
    """Return Slurm's version as (22, 5)."""
    text = subprocess.run([str(find_program("slurmctld")), "-V"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"(\d+)\.(\d+)", text)
    if found is None:
        raise LabError(f"slurmctld -V answered {text!r}, which names no version.")
    return int(found[1]), int(found[2])
