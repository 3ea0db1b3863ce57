"""One suite of the agent's client, over the lab's real Slurm and over the stand-in."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.slurm.client import Slurm
from agent.slurm.values import Accounting, NoAccounting, PollFailed, SlurmFacts
from lab.processes import wait_until
from lab.slurm.controls import freeze, thaw
from lab.slurm.layout import Lab
from lab.standin.control import Standin, change_settings, set_faults
from mltm.contract.ids import JobId
from tests.agent.slurm.clients import (
    SECRET,
    AnySlurm,
    build_request,
    connect,
    find_job,
    put_out_of_reach,
    read_soon,
    wait_for,
)

SINCE = datetime.now(UTC) - timedelta(hours=1)
REAL = pytest.param("slurm_lab", marks=pytest.mark.slurm)
REAL_ACCOUNTING = pytest.param("slurm_lab_accounting", marks=pytest.mark.slurm)
STANDIN = pytest.param("standin", marks=pytest.mark.standin)


@pytest.fixture(params=[REAL, STANDIN])
def where(request: pytest.FixtureRequest) -> AnySlurm:
    found: AnySlurm = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=[REAL_ACCOUNTING, STANDIN])
def accounted(request: pytest.FixtureRequest) -> Iterator[Slurm]:
    with connect(request.getfixturevalue(request.param)) as client:
        yield client


@pytest.fixture
def slurm(where: AnySlurm) -> Iterator[Slurm]:
    with connect(where) as client:
        yield client


@pytest.fixture
def unreachable(where: AnySlurm, tmp_path: Path) -> Iterator[Slurm]:
    """A client whose slurmctld is down."""
    if isinstance(where, Standin):
        message = "Unable to contact slurm controller (connect failure)"
        refused = {
            "command": "sbatch",
            "mode": "error",
            "text": f"sbatch: error: Batch job submission failed: {message}",
        }
        others = [{"command": command, "mode": "fail"} for command in ("squeue", "scontrol", "scancel")]
        set_faults(where, refused, *others)
        with connect(where) as client:
            yield client
    else:
        seen = put_out_of_reach(where, tmp_path, SlurmctldPort="1", MessageTimeout="1")
        with connect(seen) as client:
            yield client


def test_a_submitted_job_is_listed_under_its_name(slurm: Slurm, tmp_path: Path) -> None:
    request = build_request(tmp_path, time_limit="90", memory="10M", cpus=1, nodes=1)
    answer = slurm.submit(request)
    assert answer.outcome == "accepted", answer

    job = find_job(slurm, request.job_name)
    assert job is not None
    assert (job.job_id, job.state, job.reason, job.node) == (answer.job_id, "PENDING", "BeginTime", "")
    assert (job.elapsed_s, job.time_limit_s) == (0, 5400)


def test_a_job_runs_its_script_with_its_arguments_in_its_folder(slurm: Slurm, tmp_path: Path) -> None:
    request = build_request(tmp_path, 'echo "$PWD|$1|$2"', args=("a b", "$(id)"), begin=None)
    slurm.submit(request)

    wait_for(slurm, request.job_name, "COMPLETED")
    assert read_soon(request.output) == f"{tmp_path}|a b|$(id)\n"


def test_a_job_sees_nothing_of_the_agents_environment(slurm: Slurm, tmp_path: Path) -> None:
    request = build_request(tmp_path, "env; echo whole", begin=None)
    slurm.submit(request)

    said = read_soon(request.output, lambda text: "whole\n" in text)
    assert SECRET not in said
    names = {line.partition("=")[0] for line in said.splitlines()}
    assert not names & {"TZ", "LC_ALL", "SBATCH_PARTITION", "SQUEUE_STATES", "AGENT_TOKEN"}


def test_a_folder_with_a_percent_sign_is_taken_as_it_is(slurm: Slurm, tmp_path: Path) -> None:
    folder = tmp_path / "50%j"
    folder.mkdir()
    request = build_request(tmp_path, "echo here", output=folder / "out-%j", begin=None)
    answer = slurm.submit(request)

    wait_for(slurm, request.job_name, "COMPLETED")
    assert read_soon(folder / f"out-{answer.job_id}") == "here\n"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"partition": "nope"}, "Invalid partition name specified"),
        ({"time_limit": "abc"}, "Invalid --time specification"),
        ({"constraint": "nope"}, "Invalid feature specification"),
        ({"dependency": "nope"}, "Job dependency problem"),
    ],
    ids=lambda value: "-".join(f"{name}-{part}" for name, part in value.items()) if isinstance(value, dict) else "",
)
def test_a_request_that_can_never_run_is_permanent(
    slurm: Slurm, tmp_path: Path, wrong: dict[str, Any], message: str
) -> None:
    request = build_request(tmp_path, **wrong)
    answer = slurm.submit(request)

    assert (answer.outcome, answer.job_id) == ("permanent", None)
    assert message in answer.message
    assert find_job(slurm, request.job_name) is None


def test_a_wrong_account_is_permanent(accounted: Slurm, tmp_path: Path) -> None:
    answer = accounted.submit(build_request(tmp_path, account="nope"))
    assert (answer.outcome, answer.job_id) == ("permanent", None)
    assert "Invalid account" in answer.message


def test_of_many_only_the_right_names_are_cancelled(slurm: Slurm, tmp_path: Path) -> None:
    requests = [build_request(tmp_path) for _ in range(5)]
    answers = dict(slurm.submit_many(requests))
    ids = [answers[request.job_name].job_id or JobId("") for request in requests]
    names = [request.job_name for request in requests]

    assert slurm.cancel([*zip(ids, [*names[:4], "mltm-other-a01"], strict=True), (JobId("999999"), "x")]).outcome == (
        "sent"
    )
    for name in names[:4]:
        wait_for(slurm, name, "CANCELLED")
    wait_for(slurm, names[4], "PENDING")
    assert slurm.calls["scancel"] == 1


def test_a_signal_reaches_the_script_and_ends_nothing(slurm: Slurm, tmp_path: Path) -> None:
    script = "trap 'echo warned; exit 0' USR1; echo ready; while :; do sleep 0.05; done"
    request = build_request(tmp_path, script, begin=None)
    job_id = slurm.submit(request).job_id
    assert job_id is not None
    read_soon(request.output, lambda text: text == "ready\n")

    assert slurm.cancel([(job_id, request.job_name)], signal="USR1").outcome == "sent"
    wait_for(slurm, request.job_name, "COMPLETED")
    assert read_soon(request.output) == "ready\nwarned\n"


def test_slurm_tells_what_the_waits_depend_on(slurm: Slurm, where: AnySlurm) -> None:
    facts = slurm.describe()
    assert isinstance(facts, SlurmFacts)
    kill_wait_s = 1 if isinstance(where, Standin) else 12
    is_accounted = isinstance(where, Standin)
    assert (facts.min_job_age_s, facts.kill_wait_s, facts.accounting) == (10, kill_wait_s, is_accounted)
    assert facts.version.startswith("2")


def test_a_site_without_accounting_is_a_fact(slurm: Slurm, where: AnySlurm) -> None:
    if isinstance(where, Standin):
        change_settings(where, accounting=False)
    assert slurm.account(["mltm-x-a01"], since=SINCE) == NoAccounting()


def test_accounting_tells_how_a_job_of_a_name_ended(accounted: Slurm, tmp_path: Path) -> None:
    request = build_request(tmp_path, "exit 3", begin=None)
    answer = accounted.submit(request)

    def has_ended() -> bool:
        found = accounted.account(["mltm-nobody-a01", request.job_name], since=SINCE)
        assert isinstance(found, Accounting), found
        return [(job.job_id, job.state, job.exit_code) for job in found.jobs] == [(answer.job_id, "FAILED", 3)]

    assert wait_until(has_ended, timeout_s=25, pause_s=0.2)


def test_without_a_controller_nothing_is_known_and_nothing_was_submitted(unreachable: Slurm, tmp_path: Path) -> None:
    message = "Unable to contact slurm controller (connect failure)"
    answer = unreachable.submit(build_request(tmp_path))

    assert (answer.outcome, answer.job_id) == ("transient", None)
    assert message in answer.message
    for asked in (unreachable.list_jobs(), unreachable.describe()):
        assert isinstance(asked, PollFailed)
        assert message in asked.message
    few, many = [(JobId("5"), "x")], [(JobId(str(number)), "x") for number in range(5)]
    assert [unreachable.cancel(jobs).outcome for jobs in (few, many)] == ["failed", "failed"]


@pytest.mark.slurm
def test_a_controller_that_hears_and_does_not_answer_leaves_it_open(slurm_lab: Lab, tmp_path: Path) -> None:
    with connect(put_out_of_reach(slurm_lab, tmp_path, MessageTimeout="1")) as client:
        freeze(slurm_lab)
        try:
            answer = client.submit(build_request(tmp_path))
            listed = client.list_jobs()
        finally:
            thaw(slurm_lab)
    assert (answer.outcome, answer.job_id) == ("ambiguous", None)
    assert isinstance(listed, PollFailed)
