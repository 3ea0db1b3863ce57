"""What is done where Slurm's programs are missing; apt-get is a small script here, the rest is the lab's own."""

import os
from pathlib import Path

import pytest

from lab import packages
from lab.__main__ import main
from lab.errors import LabError
from tests.lab.programs import write_apt_get, write_program

SLURM = "munged slurmctld slurmd sbatch squeue"
NEEDED = "munge slurm-client slurm-wlm-basic-plugins slurmctld slurmd"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Slurm, and with an apt-get that brings it; the user is root."""
    programs = tmp_path / "bin"
    write_apt_get(programs, calls=tmp_path / "calls", brings=SLURM)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(packages, "SBIN", str(programs))
    monkeypatch.setattr(packages, "POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path


def read_calls(machine: Path) -> list[str]:
    calls = machine / "calls"
    return calls.read_text().splitlines() if calls.exists() else []


def test_root_gets_what_is_missing(machine: Path) -> None:
    packages.ensure_programs(accounting=False)

    update, install = read_calls(machine)
    assert update.split()[0] == "update"
    assert install.split()[0] == "install"
    assert install.endswith(f" --no-install-recommends {NEEDED}")


def test_only_what_is_missing_is_installed(machine: Path) -> None:
    for name in SLURM.split():
        write_program(machine / "bin", name)
    write_apt_get(machine / "bin", calls=machine / "calls", brings="slurmdbd mariadbd mariadb-install-db")
    packages.ensure_programs(accounting=True)

    assert read_calls(machine)[1].endswith(" mariadb-server slurm-wlm-basic-plugins slurmdbd")


def test_nothing_is_asked_of_apt_get_where_nothing_is_missing(machine: Path) -> None:
    for name in SLURM.split():
        write_program(machine / "bin", name)
    packages.ensure_programs(accounting=False)

    assert read_calls(machine) == []


def test_what_the_tests_call_is_installed_without_slurm_and_with_it(machine: Path) -> None:
    write_apt_get(machine / "bin", calls=machine / "calls", brings=" ".join(packages.TEST_PROGRAMS))

    assert main(["install", "--no-slurm"]) == 0
    assert read_calls(machine)[1].endswith(" --no-install-recommends curl faketime fuse3 git openssl systemd")

    write_apt_get(machine / "bin", calls=machine / "calls", brings=f"{SLURM} slurmdbd mariadbd mariadb-install-db")
    write_apt_get(machine / "bin", calls=machine / "calls", brings=f"{SLURM} slurmdbd mariadbd mariadb-install-db")
    assert main(["install"]) == 1  # this apt-get does not bring the browser
    assert read_calls(machine)[3].endswith(f" mariadb-server {NEEDED} slurmdbd")
    assert read_calls(machine)[5].endswith(" --no-install-recommends chromium")


def test_an_ordinary_user_is_told_what_to_ask_for(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="takes root") as refused:
        packages.ensure_programs(accounting=False)

    assert f"apt-get install -y --no-install-recommends {NEEDED}\n" in str(refused.value)
    assert "DEMO_SLURM=standin" in str(refused.value)
    assert read_calls(machine) == []


def test_without_apt_get_the_packages_are_named(machine: Path) -> None:
    (machine / "bin" / "apt-get").unlink()
    with pytest.raises(LabError, match=f"no apt-get .* {NEEDED}"):
        packages.ensure_programs(accounting=False)


@pytest.mark.parametrize("word", ["update", "install"])
def test_a_failing_apt_get_is_told_in_its_own_words(machine: Path, word: str) -> None:
    write_apt_get(machine / "bin", calls=machine / "calls", fails_at=word)
    with pytest.raises(LabError, match=rf"apt-get {word} .* failed \(100\): E: Unable to locate package\n"):
        packages.ensure_programs(accounting=False)

    assert read_calls(machine)[-1].split()[0] == word
    assert not packages.POLICY.exists()


def test_packages_that_bring_no_programs_are_an_error(machine: Path) -> None:
    write_apt_get(machine / "bin", calls=machine / "calls", brings="munged slurmctld slurmd sbatch")
    with pytest.raises(LabError, match=r"apt-get went well but .*slurm-client.* Try by hand: apt-get update"):
        packages.ensure_programs(accounting=False)


def test_no_service_is_started_by_installing(machine: Path) -> None:
    apt_get = machine / "bin" / "apt-get"
    apt_get.write_text(apt_get.read_text() + f"\n. '{packages.POLICY}'")  # exit 101 is Debian's "do not start it"
    with pytest.raises(LabError, match=r"apt-get install .* failed \(101\)"):
        packages.ensure_programs(accounting=False)

    assert not packages.POLICY.exists()


def test_a_policy_that_is_there_stays(machine: Path) -> None:
    packages.POLICY.write_text("#!/bin/sh\nexit 0\n")
    packages.ensure_programs(accounting=False)

    assert packages.POLICY.read_text() == "#!/bin/sh\nexit 0\n"
