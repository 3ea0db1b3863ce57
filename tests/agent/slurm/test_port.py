"""One suite of what the agent rests on, over the real Slurm, the stand-in, and the one in memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.slurm.port import SlurmPort
from agent.slurm.values import CancelOutcome, JobLine, JobList
from tests.agent.slurm.clients import build_request, connect
from tests.machine.memory_slurm import MemorySlurm


@pytest.fixture(
    params=[
        pytest.param("slurm_lab", marks=pytest.mark.slurm),
        pytest.param("standin", marks=pytest.mark.standin),
        "memory",
    ]
)
def slurm(request: pytest.FixtureRequest) -> Iterator[SlurmPort]:
    if request.param == "memory":
        yield MemorySlurm()
    else:
        with connect(request.getfixturevalue(request.param)) as client:
            yield client


def list_all(slurm: SlurmPort) -> dict[str, JobLine]:
    listed = slurm.list_jobs()
    assert isinstance(listed, JobList), listed
    return {job.name: job for job in listed.jobs}


def test_several_are_submitted_side_by_side_and_listed_under_their_names(slurm: SlurmPort, tmp_path: Path) -> None:
    requests = [build_request(tmp_path) for _ in range(6)]
    answers = dict(slurm.submit_many(requests))

    assert {answer.outcome for answer in answers.values()} == {"accepted"}
    there = list_all(slurm)
    assert {name: answer.job_id for name, answer in answers.items()} == {
        request.job_name: there[request.job_name].job_id for request in requests
    }
    assert {there[request.job_name].state for request in requests} == {"PENDING"}
    assert dict(slurm.calls) == {"sbatch": 6, "squeue": 1}


def test_a_request_that_can_never_run_is_permanent_and_no_job(slurm: SlurmPort, tmp_path: Path) -> None:
    request = build_request(tmp_path, partition="nope")
    answer = dict(slurm.submit_many([request]))[request.job_name]

    assert (answer.outcome, answer.job_id) == ("permanent", None)
    assert "Invalid partition name specified" in answer.message
    assert request.job_name not in list_all(slurm)


def test_only_the_right_name_cancels(slurm: SlurmPort, tmp_path: Path) -> None:
    request = build_request(tmp_path)
    job_id = dict(slurm.submit_many([request]))[request.job_name].job_id
    assert job_id is not None

    assert slurm.cancel([(job_id, "mltm-other-a01")]).outcome == "sent"
    assert list_all(slurm)[request.job_name].state == "PENDING"
    assert slurm.cancel([(job_id, request.job_name)]) == CancelOutcome("sent")
    assert list_all(slurm)[request.job_name].state == "CANCELLED"
