"""`python -m lab` from up to down, as whoever runs the tests and as an ordinary user."""

import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.processes import wait_until
from lab.slurm import cluster
from lab.slurm.layout import Lab
from tests.lab.commands import AS_IT_IS, CHECKOUT, Commands, as_ordinary_user, ended_lab, find_left

pytestmark = pytest.mark.slurm
# who a person was before `su`: the lab asks for the user id instead
BEFORE_SU = {"USER": "somebody", "LOGNAME": "somebody"}


@dataclass(frozen=True)
class Case:
    """Who calls the lab, for which folder, and what this lab has beside the usual daemons."""

    commands: Commands
    folder: Path
    option: str
    daemons: tuple[str, ...] = ()


@pytest.fixture(params=["as it is", "ordinary user"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    if request.param == "as it is":
        with ended_lab(tmp_path / "lab") as folder:
            yield Case(AS_IT_IS, folder, "--no-accounting")
        return
    with as_ordinary_user() as (commands, own), ended_lab(own / "lab") as folder:
        yield Case(commands, folder, "--accounting", ("slurmdbd", "mariadbd"))


def read_exports(said: str) -> dict[str, str]:
    pairs = (line.removeprefix("export ").partition("=") for line in said.splitlines())
    return {name: shlex.split(value)[0] for name, _, value in pairs}


def run_job(commands: Commands, env: dict[str, str]) -> None:
    done = commands.run("sbatch", "--parsable", "--account=twinscie", "-o", "/dev/null", "--wrap", "true", **env)
    assert done.returncode == 0, done.stderr
    job = ("squeue", "-h", "-t", "all", "-j", done.stdout.strip(), "-o", "%T")
    assert wait_until(lambda: commands.run(*job, **env).stdout == "COMPLETED\n", timeout_s=20)


def test_a_lab_comes_up_where_no_cgroup_file_system_is_mounted(tmp_path: Path) -> None:
    """As in a Debian root: here another folder lies over it."""
    (tmp_path / "none").mkdir()
    cover = f'mount --bind {tmp_path}/none /sys/fs/cgroup && exec "$@"'
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    bare = Commands(("unshare", *user, "--mount", "sh", "-c", cover, "sh"), sys.executable, CHECKOUT)
    with ended_lab(tmp_path / "lab") as folder:
        up = bare.lab("up", "--dir", str(folder))
        assert up.returncode == 0, up.stderr
        assert AS_IT_IS.lab("down", "--dir", str(folder)).returncode == 0
        assert find_left(folder) == []


def test_a_lab_comes_up_shows_itself_and_goes(case: Case) -> None:
    lab, folder, arguments = case.commands.lab, case.folder, ("--dir", str(case.folder))
    up = lab("up", *arguments, "--min-job-age=7", case.option, **BEFORE_SU)
    assert up.returncode == 0, up.stderr
    assert up.stderr.startswith(f"lab: up in {folder} after ")
    env = read_exports(up.stdout)
    run_job(case.commands, env)

    assert "MinJobAge               = 7 sec" in case.commands.run("scontrol", "show", "config", **env).stdout
    again = lab("up", *arguments, "--min-job-age=7", case.option)
    assert (again.stdout, again.stderr) == (up.stdout, f"lab: already up in {folder}\n")
    assert lab("env", *arguments).stdout == up.stdout
    assert lab("up", *arguments).stderr.startswith(
        f"lab: A lab with other options is up in {folder}. Take it down first"
    )
    case.commands.run("sbatch", "--hold", "-o", "/dev/null", "--wrap", "true", **env)
    daemons = ["slurmctld", "slurmd-n1", "slurmd-n2", "slurmd-n3", *case.daemons, "munged"]
    shown = [f"{name:12} up" for name in daemons] + [f"node n{i}      idle" for i in (1, 2, 3)] + ["jobs         1"]
    status = lab("status", *arguments)
    assert (status.returncode, status.stdout.splitlines()) == (0, shown)

    assert lab("down", *arguments).stderr == f"lab: down in {folder}\n"
    assert find_left(folder) == []
    status = lab("status", *arguments)
    assert (status.returncode, status.stdout.splitlines()) == (1, [f"{name:12} down" for name in daemons])


def test_two_labs_start_at_once_and_one_outlives_the_other(tmp_path: Path) -> None:
    with (
        as_ordinary_user() as (ordinary, own),
        ended_lab(own / "lab") as theirs,
        ended_lab(tmp_path / "lab") as mine,
    ):
        starting = AS_IT_IS.start("up", "--dir", str(mine))
        other = ordinary.lab("up", "--dir", str(theirs))
        assert other.returncode == 0, other.stderr
        assert starting.communicate(timeout=60)[1].startswith(f"lab: up in {mine} after ")
        env = {"SLURM_CONF": str(mine / "slurm.conf")}
        run_job(AS_IT_IS, env)
        run_job(ordinary, read_exports(other.stdout))
        started = AS_IT_IS.run("sbatch", "--parsable", "-o", "/dev/null", "--wrap", "sleep 1000", **env)
        job = ("squeue", "-h", "-j", started.stdout.strip(), "-o", "%T")
        assert wait_until(lambda: AS_IT_IS.run(*job, **env).stdout == "RUNNING\n", timeout_s=20)

        assert ordinary.lab("down", "--dir", str(theirs)).returncode == 0
        assert find_left(theirs) == []
        assert AS_IT_IS.lab("status", "--dir", str(mine)).returncode == 0
        assert AS_IT_IS.run(*job, **env).stdout == "RUNNING\n"
        assert AS_IT_IS.lab("down", "--dir", str(mine)).returncode == 0
        assert find_left(mine) == []


def test_somebody_elses_lab_is_not_taken_down(slurm_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    with pytest.raises(LabError, match=r"belongs to user id .* only that user or root can end it"):
        cluster.down(slurm_lab)

    assert cluster.is_up(slurm_lab)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("status",), "lab: There is no lab in {0}. Start one with: python -m lab up --dir {0}\n"),
        (("env",), "lab: There is no lab in {0}. Start one with: python -m lab up --dir {0}\n"),
        (("down",), "lab: there is no lab in {0}, nothing to do\n"),
        (("standin-down",), "lab: There is no stand-in in {0}.\n"),
    ],
)
def test_no_lab_is_told_in_words(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    folder = tmp_path / "nothing"
    assert AS_IT_IS.lab(*arguments, "--dir", str(folder)).stderr == said.format(folder)


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("a b", "slurm.conf cannot hold the path"),
        ("file/lab", ": cannot create it (Not a directory). Give another folder with --dir."),
    ],
)
def test_a_folder_that_will_not_do_is_told_in_words(tmp_path: Path, folder: str, said: str) -> None:
    (tmp_path / "file").touch()
    done = AS_IT_IS.lab("up", "--dir", str(tmp_path / folder))

    assert done.returncode == 1
    assert done.stderr.startswith("lab: ")
    assert said in done.stderr
