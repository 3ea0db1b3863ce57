"""One suite over the real Slurm, without and with accounting, and over the stand-in."""

import uuid

import pytest

from lab.processes import wait_until
from tests.lab.calls import Slurm, call, submit, wait_state


@pytest.fixture(
    params=[
        pytest.param("slurm_lab", marks=pytest.mark.slurm),
        pytest.param("slurm_lab_accounting", marks=pytest.mark.slurm),
        pytest.param("standin", marks=pytest.mark.standin),
    ]
)
def slurm(request: pytest.FixtureRequest) -> Slurm:
    found: Slurm = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize(("script", "state"), [("true", "COMPLETED"), ("exit 3", "FAILED")])
def test_a_job_ends_as_its_script_does(slurm: Slurm, script: str, state: str) -> None:
    wait_state(slurm, submit(slurm, script), state)


def test_a_running_job_can_be_cancelled(slurm: Slurm) -> None:
    job_id = submit(slurm, "sleep 1000")
    wait_state(slurm, job_id, "RUNNING")

    assert call(slurm, "scancel", job_id).returncode == 0
    wait_state(slurm, job_id, "CANCELLED")


def test_a_held_job_stays_pending_and_can_be_cancelled(slurm: Slurm) -> None:
    job_id = submit(slurm, "true", "--hold")
    shown = call(slurm, "squeue", "-h", "--me", "-j", job_id, "-o", "%i|%T|%r|%N|%j").stdout

    assert shown == f"{job_id}|PENDING|JobHeldUser||wrap\n"
    call(slurm, "scancel", job_id)
    wait_state(slurm, job_id, "CANCELLED")


def test_only_one_job_of_a_name_runs_when_the_next_is_a_singleton(slurm: Slurm) -> None:
    name = f"one-{uuid.uuid4().hex[:8]}"
    first = submit(slurm, "sleep 1000", f"--job-name={name}")
    second = submit(slurm, "true", f"--job-name={name}", "--dependency=singleton")
    wait_state(slurm, first, "RUNNING")

    wait_state(slurm, second, "PENDING")
    call(slurm, "scancel", first)
    wait_state(slurm, second, "COMPLETED")


def test_a_name_guards_a_cancel_of_somebody_elses_id(slurm: Slurm) -> None:
    job_id = submit(slurm, "sleep 1000", "--job-name=ours")
    wait_state(slurm, job_id, "RUNNING")

    call(slurm, "scancel", "--me", "--name=other", job_id)
    wait_state(slurm, job_id, "RUNNING")
    call(slurm, "scancel", "--me", "--name=ours", job_id)
    wait_state(slurm, job_id, "CANCELLED")


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--partition=nope", "sbatch: error: invalid partition specified: nope"),
        ("--time=abc", "sbatch: error: Invalid --time specification"),
        ("--mem=999999", "sbatch: error: Memory specification can not be satisfied"),
        ("--gpus=9", "Requested node configuration is not available"),
        ("--constraint=nope", "Invalid feature specification"),
        ("--dependency=nope", "Job dependency problem"),
    ],
)
def test_a_wrong_request_is_refused_in_slurms_words(slurm: Slurm, option: str, text: str) -> None:
    done = call(slurm, "sbatch", "--parsable", option, "--wrap", "true")

    assert done.returncode != 0
    assert done.stdout == ""
    assert text in done.stderr.splitlines()[0]


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("--time=99-0", "PartitionTimeLimit"),
        ("--nodes=9", "PartitionNodeLimit"),
        ("--cpus-per-task=99", "PartitionConfig"),
    ],
)
def test_what_is_beyond_a_partition_is_accepted_and_waits_by_slurms_defaults(
    slurm: Slurm, option: str, reason: str
) -> None:
    job_id = submit(slurm, "true", option)

    shown = wait_until(
        lambda: call(slurm, "squeue", "-h", "-j", job_id, "-o", "%r").stdout == f"{reason}\n", timeout_s=25
    )
    assert shown, call(slurm, "squeue", "-h", "-j", job_id, "-o", "%T %r").stdout
    call(slurm, "scancel", job_id)


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (("squeue", "-h", "-j", "999999"), 1, "slurm_load_jobs error: Invalid job id specified\n"),
        (("squeue", "-h", "-j", "999998,999999"), 0, ""),
        (("scontrol", "show", "job", "999999"), 1, "slurm_load_jobs error: Invalid job id specified\n"),
        (("scancel", "999999"), 0, ""),
        (("scancel", "abc"), 1, "scancel: error: Invalid job id abc\n"),
        (("sbatch", "/nowhere.sh"), 1, "sbatch: error: Unable to open file /nowhere.sh\n"),
    ],
)
def test_an_unknown_job_or_file_is_answered_as_slurm_does(slurm: Slurm, argv: list[str], code: int, text: str) -> None:
    done = call(slurm, *argv)

    assert (done.returncode, done.stdout, done.stderr) == (code, "", text)
