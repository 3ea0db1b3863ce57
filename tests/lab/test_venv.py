"""`lab/venv.sh`, the first thing that make runs: the Pythons, id and apt-get on its PATH are small scripts here."""

import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.lab.programs import write_apt_get, write_program

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine without any Python; the user is ordinary."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tail").symlink_to("/usr/bin/tail")
    become(tmp_path, 1000)
    write_apt_get(tmp_path / "bin", calls=tmp_path / "calls")
    return tmp_path


def become(machine: Path, uid: int) -> None:
    write_program(machine / "bin", "id", f"echo {uid}")


def add_python(machine: Path, name: str, version: str, *, ensurepip: bool = True) -> None:
    mark = machine / "bin" / "ensurepip"
    if ensurepip:
        mark.touch()
    write_program(
        machine / "bin",
        name,
        f"""case "$*" in
*version_info*) echo {version} ;;
*ensurepip*) [ -e '{mark}' ] ;;
"-m venv "*) echo "{name} makes $3" ;;
esac""",
    )


def make_venv(machine: Path, *pythons: str) -> tuple[int, str]:
    argv = ["/bin/sh", str(CHECKOUT / "lab" / "venv.sh"), "there", *pythons]
    done = subprocess.run(argv, env={"PATH": str(machine / "bin")}, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_every_allowed_python_will_do(machine: Path, version: str) -> None:
    add_python(machine, "python3", version)

    assert make_venv(machine) == (0, "python3 makes there\n")


def test_the_allowed_pythons_are_those_of_the_project() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]

    assert project["requires-python"] == ">=3.11,<3.15"
    assert "Python 3.11, 3.12, 3.13 or 3.14" in (CHECKOUT / "lab" / "venv.sh").read_text()


@pytest.mark.parametrize("version", ["2.7", "3.9", "3.15"])
def test_another_python_is_looked_for_where_the_first_will_not_do(machine: Path, version: str) -> None:
    add_python(machine, "python3", version)
    add_python(machine, "python3.12", "3.12")

    assert make_venv(machine) == (0, "python3.12 makes there\n")


@pytest.mark.parametrize("version", ["3.9", "3.15"])
@pytest.mark.parametrize("named", [[], ["python3"]])
def test_a_python_of_another_age_is_refused_in_words(machine: Path, version: str, named: list[str]) -> None:
    add_python(machine, "python3", version)
    become(machine, 0)
    code, said = make_venv(machine, *named)

    assert code == 1
    assert said.startswith(f"make: python3 is Python {version}; this project needs Python 3.11, 3.12, 3.13 or 3.14.")
    assert not (machine / "calls").exists()


def test_an_ordinary_user_without_python_is_told_what_to_ask_for(machine: Path) -> None:
    code, said = make_venv(machine)

    assert code == 1
    assert "There is no Python" in said
    assert "apt-get install -y --no-install-recommends python3 python3-venv" in said


def test_without_ensurepip_an_ordinary_user_is_told_what_to_ask_for(machine: Path) -> None:
    add_python(machine, "python3", "3.13", ensurepip=False)
    code, said = make_venv(machine)

    assert code == 1
    assert "apt-get install -y --no-install-recommends python3.13-venv" in said
    assert not (machine / "calls").exists()


def test_without_ensurepip_root_gets_it(machine: Path) -> None:
    add_python(machine, "python3", "3.11", ensurepip=False)
    write_apt_get(machine / "bin", calls=machine / "calls", brings="ensurepip")
    become(machine, 0)
    code, said = make_venv(machine)

    assert code == 0
    assert "python3 makes there\n" in said
    assert (machine / "calls").read_text().splitlines()[-1].endswith(" python3.11-venv")


def test_a_failing_apt_get_is_told_in_its_own_words(machine: Path) -> None:
    add_python(machine, "python3", "3.11", ensurepip=False)
    write_apt_get(machine / "bin", calls=machine / "calls", fails_at="update")
    become(machine, 0)
    code, said = make_venv(machine)

    assert code == 1
    assert "E: Unable to locate package" in said
    assert "Try by hand: apt-get update" in said


def test_make_says_it_before_anything_is_installed(machine: Path, tmp_path: Path) -> None:
    add_python(machine, "python3", "3.9")
    env = {**os.environ, "PATH": f"{machine / 'bin'}:/usr/bin:/bin", "MAKEFLAGS": ""}
    argv = ["make", "-C", str(CHECKOUT), "check", f"VENV={tmp_path / 'venv'}", "PYTHON=python3"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "python3 is Python 3.9; this project needs" in done.stderr
    assert not (tmp_path / "venv").exists()
