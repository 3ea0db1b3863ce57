"""A site's own plugins on the lab's real Slurm: job_submit/lua in slurmctld, cli_filter/lua in sbatch.

What the user expects: the site's sentence, soon; no wait of minutes for an answer that was given. Sources of the
cases: faults 2026-11-29, 2.2 and 2.4; NVIDIA/cloudai 973; BSC-ES/autosubmit 2854. The sentences are ours.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.slurm.cluster import running_lab
from lab.slurm.controls import start_slurmctld, stop_slurmctld
from lab.slurm.layout import Lab
from tests.agent.slurm.clients import build_request, connect, find_job, put_out_of_reach

pytestmark = pytest.mark.slurm

SUBMIT = """
function slurm_job_submit(job, partitions, uid)
%s
  return slurm.SUCCESS
end
function slurm_job_modify(job, record, partitions, uid)
  return slurm.SUCCESS
end
return slurm.SUCCESS
"""
FILTER = """
function slurm_cli_setup_defaults(options, early)
  return slurm.SUCCESS
end
function slurm_cli_pre_submit(options, offset)
  %s
end
function slurm_cli_post_submit(offset, job, step)
  return slurm.SUCCESS
end
"""
SAYS = 'slurm.user_msg("Name a project by its account.")'
MAINTENANCE = 'slurm.user_msg("Maintenance until Monday.")'
# (why, what the plugin does, outcome, whether a person should look, what is shown)
SUBMITS = (
    ("it says why", f"{SAYS} return slurm.ERROR", "permanent", False, "Name a project by its account."),
    ("it says why, in lines", 'slurm.user_msg("one\\ntwo") return slurm.ERROR', "permanent", False, "one; two"),
    ("it returns a number of its own", f"{SAYS} return 4711", "permanent", False, "Name a project by its account."),
    ("a code of Slurm's decides", f"{SAYS} return slurm.ESLURM_INVALID_ACCOUNT", "permanent", False, "Invalid account"),
    ("and may pass", f"{SAYS} return 2105", "transient", False, "System submissions disabled"),
    ("it says that it passes", f"{MAINTENANCE} return slurm.ERROR", "transient", True, "Maintenance until Monday."),
    ("it says nothing", "return slurm.ERROR", "transient", True, "Unspecified error"),
    ("it only tells something", f"{SAYS} return slurm.SUCCESS", "accepted", False, "Name a project by its account."),
)
FILTERS = (
    ("it says why", 'slurm.log_error("GPUs need a type.") return slurm.ERROR', "permanent", False, "GPUs need a type."),
    (
        "it says that it passes",
        'slurm.log_error("Try again later.") return slurm.ERROR',
        "transient",
        True,
        "Try again",
    ),
    ("it says nothing", "return slurm.ERROR", "transient", True, "cli_filter plugin"),
    ("it only tells something", 'slurm.log_info("Hello.") return slurm.SUCCESS', "accepted", False, ""),
)


@pytest.fixture(scope="module")
def plugged() -> Iterator[Lab]:
    with running_lab(min_job_age_s=10) as lab:
        # slurmctld reads it anew by its time in whole seconds: all cases are in it, each by an account of its own.
        cases = [f'  if job.account == "case{n}" then {case[1]} end' for n, case in enumerate(SUBMITS)]
        cases.append('  if job.account == "broken" then return nothing.at.all end')
        (lab.dir / "job_submit.lua").write_text(SUBMIT % "\n".join(cases), encoding="utf-8")
        with lab.slurm_conf.open("a", encoding="utf-8") as conf:
            conf.write("JobSubmitPlugins=lua\n")
        stop_slurmctld(lab)
        start_slurmctld(lab)
        yield lab


@pytest.mark.parametrize("number", range(len(SUBMITS)))
def test_what_a_job_submit_plugin_answers(plugged: Lab, tmp_path: Path, number: int) -> None:
    why, _, outcome, attention, shown = SUBMITS[number]
    with connect(plugged) as slurm:
        request = build_request(tmp_path, account=f"case{number}")
        answer = slurm.submit(request)
        listed = find_job(slurm, request.job_name)
    assert (answer.outcome, answer.attention) == (outcome, attention), (why, answer)
    assert shown in answer.message
    assert (listed is None or listed.state == "FAILED") is (outcome != "accepted")


@pytest.mark.parametrize(("why", "script", "outcome", "attention", "shown"), FILTERS)
def test_what_a_cli_filter_answers(
    slurm_lab: Lab, tmp_path: Path, why: str, script: str, outcome: str, attention: bool, shown: str
) -> None:
    seen = put_out_of_reach(slurm_lab, tmp_path, CliFilterPlugins="lua")  # only sbatch reads this slurm.conf
    (tmp_path / "cli_filter.lua").write_text(FILTER % script, encoding="utf-8")
    with connect(seen) as slurm:
        answer = slurm.submit(build_request(tmp_path))
    assert (answer.outcome, answer.attention) == (outcome, attention), (why, answer)
    assert shown in answer.message


def test_a_broken_job_submit_plugin_rejects_no_task(plugged: Lab, tmp_path: Path) -> None:
    with connect(plugged) as slurm:
        answer = slurm.submit(build_request(tmp_path, account="broken"))
    assert answer.outcome in {"accepted", "transient"}, answer  # 22.05 goes on without it


def test_a_broken_cli_filter_rejects_no_task(slurm_lab: Lab, tmp_path: Path) -> None:
    seen = put_out_of_reach(slurm_lab, tmp_path, CliFilterPlugins="lua")
    (tmp_path / "cli_filter.lua").write_text(FILTER % "return nothing.at.all", encoding="utf-8")
    with connect(seen) as slurm:
        answer = slurm.submit(build_request(tmp_path))
    assert answer.outcome in {"accepted", "transient"}, answer  # 22.05 goes on without it
    assert "nothing" in answer.message
