import pytest

from lab.processes import wait_until
from lab.slurm.layout import Lab
from lab.standin.control import Standin, change_settings
from tests.lab.calls import Slurm, call, submit, wait_state

COLUMNS = "JobIDRaw,JobName,State,ExitCode,Account"


@pytest.fixture(
    params=[
        pytest.param("slurm_lab_accounting", marks=pytest.mark.slurm),
        pytest.param("standin", marks=pytest.mark.standin),
    ]
)
def slurm(request: pytest.FixtureRequest) -> Slurm:
    found: Slurm = request.getfixturevalue(request.param)
    return found


def test_accounting_knows_how_a_job_ended(slurm: Slurm) -> None:
    job_id = submit(slurm, "exit 3", "--job-name=three")
    wait_state(slurm, job_id, "FAILED")
    argv = ("sacct", "-n", "-P", "-X", "-S", "now-1hour", "-j", job_id, "-o", COLUMNS)

    expected = f"{job_id}|three|FAILED|3:0|twinscie\n"
    assert wait_until(lambda: call(slurm, *argv).stdout == expected, timeout_s=15), call(slurm, *argv)


def test_a_wrong_account_is_refused(slurm: Slurm) -> None:
    done = call(slurm, "sbatch", "--account=nope", "--wrap", "true")

    assert done.returncode == 1
    assert done.stderr.splitlines()[0].endswith("Invalid account or account/partition combination specified")


@pytest.mark.slurm
def test_without_accounting_sacct_says_so(slurm_lab: Lab) -> None:
    done = call(slurm_lab, "sacct", "-n", "-P", "-X")

    assert (done.returncode, done.stderr) == (1, "Slurm accounting storage is disabled\n")


@pytest.mark.standin
def test_the_stand_in_without_accounting_says_the_same(standin: Standin) -> None:
    change_settings(standin, accounting=False)
    done = call(standin, "sacct", "-n", "-P", "-X")

    assert (done.returncode, done.stderr) == (1, "Slurm accounting storage is disabled\n")
