"""Permanent is only what is wrong with the task's own request. The agent's and the cluster's trouble is tried again.

A user expects that his task runs when the site is well again, and that a wrong request is refused at once.
"""

import pytest

from agent.slurm.values import SbatchAnswer
from agent.tasks.sbatch_calls import _explain_refusal
from tests.field.slurm.answers import FAILED, answer_to

# (source, why it is not the task's, lines, whether a person should look)
NOT_THE_TASKS = (
    (
        "faults 2026-11-29, 2.4",
        "the wrapper's file was away for seconds",
        ("Unable to open file /x/wrapper.sh",),
        False,
    ),
    (
        "faults 2026-11-29, 2.4",
        "an upgrade of Slurm is half done",
        (f"{FAILED}Incompatible versions of client and server code",),
        True,
    ),
    ("faults 2026-11-29, 2.4", "the directory of users is away", (f"{FAILED}Invalid user id",), True),
    ("nextflow 4154", "the script's bytes came late", ("Batch script is empty!",), False),
    (
        "nextflow 4154",
        "zeros where the script's bytes will be",
        ("The Slurm controller does not allow scripts that", "contain a NULL character '\\0'."),
        True,
    ),
    ("batchtools 303", "slurm.conf is being written", ("Unable to process configuration file",), False),
    ("Slurm, slurm_errno.c", "our groups are not known there", (f"{FAILED}Invalid group id",), True),
    (
        "Slurm, slurm_errno.c",
        "our account spent more than its share, which decays",
        (f"{FAILED}Requested account has breached requested QOS usage threshold",),
        True,
    ),
    (
        "Slurm, slurm_errno.c",
        "we ask for no wckey: our account has none",
        (f"{FAILED}Invalid wckey specification",),
        True,
    ),
    (
        "Slurm, slurm_errno.c",
        "the spool's path is ours",
        (f"{FAILED}Pathname of a file, directory or other parameter too long",),
        True,
    ),
    (
        "Slurm 26.05, slurm_errno.c",
        "the site's plugin is broken",
        (f"{FAILED}Lua function execution failed due to runtime error",),
        True,
    ),
    (
        "Slurm 26.05, slurm_errno.c",
        "the cluster wants TLS, which is the agent's to set",
        (f"{FAILED}TLS missing but required for connection",),
        True,
    ),
)
# (source, why it is the task's, lines)
THE_TASKS = (
    ("reliability.md 6.3", "a partition that is not there", (f"{FAILED}Invalid partition name specified",)),
    ("reliability.md 6.3", "more than a node has", (f"{FAILED}Requested node configuration is not available",)),
    (
        "reliability.md 6.3",
        "a time that is not allowed",
        (f"{FAILED}Requested time limit is invalid (missing or exceeds some limit)",),
    ),
    (
        "ReFrame 1704",
        "larger than the user may ever be",
        ("QOSMaxCpuPerUserLimit", f"{FAILED}Job violates accounting/QOS policy (job submit limit, user's size)"),
    ),
    (
        "ReFrame 1704",
        "longer than the association allows",
        ("AssocMaxWallDurationPerJobLimit", f"{FAILED}Job violates accounting/QOS policy (job submit limit, …)"),
    ),
    (
        "Slurm 24.11, acct_policy.c",
        "more than the group may have together, alone",
        ("AssocGrpGRES", f"{FAILED}Job violates accounting/QOS policy (job submit limit, …)"),
    ),
    ("Slurm 22.05, slurm_opt.c", "a value that sbatch cannot read", ("Invalid --time specification",)),
)


@pytest.mark.parametrize(("source", "why", "lines", "attention"), NOT_THE_TASKS)
def test_what_is_not_the_tasks_is_tried_again(source: str, why: str, lines: tuple[str, ...], attention: bool) -> None:
    answer = answer_to(*lines)
    assert (answer.outcome, answer.attention) == ("transient", attention), (source, why)
    assert answer.message.rstrip(".") in _explain_refusal(answer), "it is shown as a problem of the agent"


@pytest.mark.parametrize(("source", "why", "lines"), THE_TASKS)
def test_what_the_task_asked_for_is_refused_for_good(source: str, why: str, lines: tuple[str, ...]) -> None:
    answer = answer_to(*lines)
    assert (answer.outcome, _explain_refusal(answer)) == ("permanent", ""), (source, why)


@pytest.mark.parametrize("limit", ["AssocMaxSubmitJobLimit", "QOSGrpSubmitJobsLimit", "MaxSubmitJobsPerAccount"])
def test_a_limit_on_the_number_of_jobs_waits_for_one_to_end(limit: str) -> None:
    assert answer_to(limit, f"{FAILED}Job violates accounting/QOS policy (job submit limit, …)").outcome == "limit"


def test_an_answer_that_is_good_takes_the_problem_back() -> None:
    assert _explain_refusal(SbatchAnswer("accepted")) == ""
