"""What the agent's client makes of a Slurm that fails in the ways the stand-in can."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.settings import Bucket
from agent.slurm.client import Slurm
from agent.slurm.values import JobList, NotAsked, PollFailed, SbatchAnswer
from lab.processes import wait_until
from lab.standin import control
from lab.standin.control import Standin, read_calls, set_faults
from mltm.runtime.clock import Clock
from tests.agent.slurm.clients import build_request, connect, find_job, is_group_gone

pytestmark = pytest.mark.standin
SLOW = Bucket(burst=1, per_second=0.1)


@pytest.fixture
def slurm(standin: Standin) -> Iterator[Slurm]:
    with connect(standin) as client:
        yield client


def wait_for_calls(standin: Standin, command: str) -> int:
    """The pid of the first call of a command, once it was made; its process group has the same number."""
    assert wait_until(lambda: bool(read_calls(standin, command)), timeout_s=10)
    return int(read_calls(standin, command)[0]["pid"])


def test_a_job_may_exist_though_sbatch_timed_out(slurm: Slurm, standin: Standin, tmp_path: Path) -> None:
    set_faults(standin, {"command": "sbatch", "mode": "accept_and_time_out", "count": 1})
    request = build_request(tmp_path)
    answer = slurm.submit(request)

    assert (answer.outcome, answer.job_id) == ("ambiguous", None)
    assert "Socket timed out on send/recv operation" in answer.message
    assert find_job(slurm, request.job_name) is not None


def test_an_sbatch_that_hangs_is_ended_and_its_job_found_by_name(standin: Standin, tmp_path: Path) -> None:
    set_faults(standin, {"command": "sbatch", "mode": "hang_after_accept", "count": 1})
    request = build_request(tmp_path)
    with connect(standin, sbatch_timeout_s=3) as slurm:
        answer = slurm.submit(request)
        job = find_job(slurm, request.job_name)

    assert (answer.outcome, answer.job_id) == ("ambiguous", None)
    assert job is not None
    assert is_group_gone(wait_for_calls(standin, "sbatch"))


def test_noise_does_not_hide_an_acceptance(slurm: Slurm, standin: Standin, tmp_path: Path) -> None:
    set_faults(standin, {"command": "sbatch", "mode": "noise", "count": 1})
    answer = slurm.submit(build_request(tmp_path))
    assert (answer.outcome, answer.message) == ("accepted", "the moon is full")


@pytest.mark.parametrize("mode", ["fail", "empty", "cut", "garbage"])
def test_a_wrong_list_is_no_list(slurm: Slurm, standin: Standin, tmp_path: Path, mode: str) -> None:
    request = build_request(tmp_path)
    slurm.submit(request)
    set_faults(standin, {"command": "squeue", "mode": mode, "count": 1})

    assert isinstance(slurm.list_jobs(), PollFailed)
    assert find_job(slurm, request.job_name) is not None


def test_a_squeue_that_hangs_is_ended_with_its_children(standin: Standin) -> None:
    set_faults(standin, {"command": "squeue", "mode": "hang", "count": 1})
    with connect(standin, query_timeout_s=2) as slurm:
        assert isinstance(slurm.list_jobs(), PollFailed)
    assert is_group_gone(wait_for_calls(standin, "squeue"))


def test_a_squeue_that_hangs_keeps_no_sbatch_waiting(slurm: Slurm, standin: Standin, tmp_path: Path) -> None:
    set_faults(standin, {"command": "squeue", "mode": "hang", "count": 1})
    asking = threading.Thread(target=slurm.list_jobs)
    asking.start()
    wait_for_calls(standin, "squeue")

    assert slurm.submit(build_request(tmp_path)).outcome == "accepted"
    assert asking.is_alive()
    slurm.close()
    asking.join(20)
    assert not asking.is_alive()


def test_a_call_under_way_is_waited_for_and_not_made_twice(slurm: Slurm, standin: Standin, tmp_path: Path) -> None:
    set_faults(standin, {"command": "sbatch", "mode": "hang_after_accept", "count": 1})
    request = build_request(tmp_path)
    answers = [dict(slurm.submit_many([request], wait_s=0.1))[request.job_name] for _ in range(3)]

    assert answers == [SbatchAnswer("deferred", message="sbatch has not answered yet.")] * 3
    group = wait_for_calls(standin, "sbatch")
    slurm.close()
    assert dict(slurm.submit_many([request], wait_s=0))[request.job_name].outcome == "ambiguous"
    assert len(read_calls(standin, "sbatch")) == 1
    assert is_group_gone(group)


def test_what_the_bucket_does_not_allow_waits_for_its_turn(standin: Standin, tmp_path: Path) -> None:
    requests = [build_request(tmp_path), build_request(tmp_path)]
    names = [request.job_name for request in requests]
    now = [0.0]
    with connect(standin, Clock(boot_s=lambda: now[0]), sbatch_bucket=SLOW) as slurm:
        first = dict(slurm.submit_many(requests))
        now[0] = 11.0
        second = dict(slurm.submit_many(requests[1:]))

    assert [first[name].outcome for name in names] == ["accepted", "deferred"]
    assert second[names[1]].outcome == "accepted"
    assert len(control.list_jobs(standin)) == 2


def test_a_rate_limit_halves_what_is_asked(standin: Standin) -> None:
    message = "slurm_load_jobs error: Rate limit exceeded, please retry momentarily"
    set_faults(standin, {"command": "squeue", "mode": "error", "text": message, "count": 1})
    with connect(standin, Clock(boot_s=lambda: 0.0), query_bucket=Bucket(burst=4, per_second=0.1)) as slurm:
        answers = [type(slurm.list_jobs()) for _ in range(4)]

    assert answers == [PollFailed, JobList, JobList, NotAsked]
    assert len(read_calls(standin, "squeue")) == 3


def test_a_cancel_that_fails_is_said(slurm: Slurm, standin: Standin, tmp_path: Path) -> None:
    request = build_request(tmp_path)
    job_id = slurm.submit(request).job_id
    assert job_id is not None
    set_faults(standin, {"command": "scancel", "mode": "fail", "count": 1})

    assert slurm.cancel([(job_id, request.job_name)]).outcome == "failed"
    assert slurm.cancel([(job_id, request.job_name)]).outcome == "sent"


def test_a_site_without_slurms_programs_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = Standin(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with connect(empty) as slurm:
        answer, listed = slurm.submit(build_request(tmp_path)), slurm.list_jobs()

    assert answer.outcome == "transient"
    assert isinstance(listed, PollFailed)
    for message in (answer.message, listed.message):
        assert message.startswith("There is no program s")
