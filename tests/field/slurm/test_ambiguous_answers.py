"""Only trouble of communication is ambiguous. What Slurm answered, and an exit before sending, surely made no job.

A user expects his task to go on in seconds, not in six minutes, where it is known that there is no job; and no second
job where there may be one.
"""

import pytest

from agent.slurm.errors import classify_refusal
from tests.field.slurm.answers import FAILED, answer_to

# (source, why a job may exist, lines, exit code, stdout)
AMBIGUOUS = (
    (
        "Nextflow, executor.retry.reason",
        "slurmctld was slow",
        (f"{FAILED}Socket timed out on send/recv operation",),
        93,
        "",
    ),
    ("snakemake 313", "an answer of another kind", (f"{FAILED}Unexpected message received",), 93, ""),
    ("sisyphus 281", "the peer went away in the middle", (f"{FAILED}Connection reset by peer",), 93, ""),
    ("sisyphus 281", "as before, by a broken pipe", (f"{FAILED}Broken pipe",), 93, ""),
    (
        "Slurm 24.11, slurm_protocol_api.c",
        "the reply came and cannot be read",
        (f"{FAILED}Header lengths are longer than data received",),
        93,
        "",
    ),
    (
        "Slurm 24.11, slurm_protocol_api.c",
        "the reply came and munge cannot prove it",
        (
            "slurm_unpack_received_msg: [ctl] auth_g_verify: RESPONSE_SUBMIT_BATCH_JOB has authentication error",
            f"{FAILED}Protocol authentication error",
        ),
        93,
        "",
    ),
    (
        "Slurm, newer than 26.05",
        "a text that speaks of a connection",
        (f"{FAILED}Connection lost while reading",),
        93,
        "",
    ),
    ("lyft/flinkk8soperator 217", "it was killed by our time limit", ("anything",), None, ""),
    ("lyft/flinkk8soperator 217", "a site's sbatch is a shell script, and the real one was killed", (), 137, ""),
    ("batchspawner 82", "it failed behind a job's id", (), 1, "12\n"),
    ("batchspawner 82", "it ended well and said nothing", (), 0, ""),
    ("batchspawner 82", "it failed and said nothing", (), 93, ""),
)


@pytest.mark.parametrize(("source", "why", "lines", "code", "stdout"), AMBIGUOUS)
def test_a_job_may_exist(source: str, why: str, lines: tuple[str, ...], code: int | None, stdout: str) -> None:
    assert answer_to(*lines, code=code, stdout=stdout).outcome == "ambiguous", (source, why)


def test_a_script_in_the_place_of_sbatch_that_crashed_may_have_called_it() -> None:
    assert classify_refusal("Traceback (most recent call last):\nKeyError: 'job'\n") == "ambiguous"


# (source, why there is surely none, lines, exit code, whether a person should look)
SURELY_NONE = (
    ("faults 2026-11-29, 2.2", "slurmctld answered", (f"{FAILED}Unspecified error",), 93, True),
    (
        "Slurm, newer than 26.05",
        "slurmctld answered by a text that no version has yet",
        (f"{FAILED}Quantum not set",),
        93,
        True,
    ),
    ("Slurm 26.05, slurm_errno.c", "a text about something else", (f"{FAILED}Invalid HTTP method",), 93, True),
    (
        "Slurm, sbatch.c",
        "a plugin of sbatch failed before it sent anything",
        ("Failed to initialize plugin stack",),
        93,
        True,
    ),
    (
        "Slurm, sbatch.c",
        "sbatch ended before it sent, in words that no version has yet",
        ("No stars in the sky",),
        1,
        True,
    ),
    ("Slurm, getopt", "an option that this sbatch does not know", ("unrecognized option '--propagate=NONE'",), 1, True),
    ("toil 4743", "slurmctld's disk is full", (f"{FAILED}I/O error writing script/environment to file",), 93, False),
    (
        "reliability.md 1.1",
        "the connection was refused: nothing was sent",
        (f"{FAILED}Unable to contact slurm controller (connect failure)",),
        93,
        False,
    ),
    (
        "reliability.md 6.1",
        "the rate limit dropped it",
        (f"{FAILED}Rate limit exceeded, please retry later",),
        93,
        False,
    ),
)


@pytest.mark.parametrize(("source", "why", "lines", "code", "attention"), SURELY_NONE)
def test_there_is_surely_no_job(source: str, why: str, lines: tuple[str, ...], code: int, attention: bool) -> None:
    answer = answer_to(*lines, code=code)
    assert (answer.outcome, answer.attention) == ("transient", attention), (source, why)
    assert answer.message, "what was answered is shown"
