"""What squeue, sacct, scontrol and sbatch print: captured answers, wrong ones, and any text at all."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.protocol.verdict import read_slurm_end
from agent.slurm import parse
from agent.slurm.shell import CommandResult
from agent.slurm.values import (
    Accounting,
    AccountingLine,
    JobLine,
    JobList,
    NoAccounting,
    PollFailed,
    SbatchAnswer,
    SlurmFacts,
)
from mltm.contract.ids import JobId
from mltm.contract.states import State
from tests.agent.slurm.captured import VERSIONS, list_captured, read_captured

MANY = read_captured("squeue-many").stdout
ACCOUNTED = read_captured("sacct-many").stdout
HUGE = "9" * 5000  # longer than Python turns into a number
PARSERS: tuple[Callable[[CommandResult], object], ...] = (
    parse.parse_submission,
    parse.parse_list,
    parse.parse_accounting,
    parse.parse_facts,
)


def said(stdout: str = "", *, code: int | None = 0, stderr: str = "") -> CommandResult:
    return CommandResult(("program",), code, stdout, stderr)


def list_good(stdout: str) -> tuple[JobLine, ...]:
    found = parse.parse_list(said(stdout))
    assert isinstance(found, JobList), found
    return found.jobs


@pytest.mark.parametrize(
    ("stdout", "code", "outcome", "job_id"),
    [
        ("12\n", 0, "accepted", "12"),
        ("12", 0, "accepted", "12"),
        ("12;lab\n", 0, "accepted", "12"),
        ("12;lab.b-1\n", 0, "accepted", "12"),
        ("", 0, "ambiguous", None),
        ("Submitted batch job 12\n", 0, "ambiguous", None),
        ("12 13\n", 0, "ambiguous", None),
        ("-12\n", 0, "ambiguous", None),
        ("\u0661\u0662\n", 0, "ambiguous", None),
        ("12\n", 1, "ambiguous", "12"),
        ("12\n", None, "ambiguous", "12"),
        ("", None, "ambiguous", None),
        ("", -9, "ambiguous", None),
        ("", 93, "ambiguous", None),
    ],
)
def test_only_an_id_and_exit_0_are_an_acceptance(
    stdout: str, code: int | None, outcome: str, job_id: str | None
) -> None:
    answer = parse.parse_submission(said(stdout, code=code))
    assert (answer.outcome, answer.job_id) == (outcome, job_id)
    assert answer.message or outcome == "accepted"


def test_an_accepted_job_is_accepted_whatever_stderr_says() -> None:
    noise = "sbatch: error: Batch job submission failed: Invalid qos specification\n"
    assert parse.parse_submission(said("12\n", stderr=noise)) == SbatchAnswer(
        "accepted", JobId("12"), "Batch job submission failed: Invalid qos specification"
    )


def test_a_killed_sbatch_is_ambiguous_though_its_words_are_a_refusal() -> None:
    refused = read_captured("sbatch-slurmctld-down")
    assert parse.parse_submission(replace(refused, exit_code=None, timed_out=True)).outcome == "ambiguous"


def test_an_sbatch_that_did_not_start_left_no_job() -> None:
    missing = CommandResult(("sbatch",), None, not_started="There is no program sbatch in PATH.")
    assert parse.parse_submission(missing) == SbatchAnswer("transient", None, "There is no program sbatch in PATH.")


def test_the_captured_list_is_read_whole() -> None:
    jobs = {job.job_id: job for job in list_good(MANY)}

    assert list(jobs) == ["9", "1", "5", "4", "8_1", "8_2", "8_3", "3", "2", "6", "7"]
    assert jobs[JobId("3")] == JobLine(
        JobId("3"), "PENDING", "mltm-held", "JobHeldUser", "", 0, 86_400, None, "2026-11-24T01:48:11"
    )
    assert jobs[JobId("2")] == JobLine(
        JobId("2"), "RUNNING", "mltm-a", "", "n1", 2, 86_400, "2026-11-24T01:48:11", "2026-11-24T01:48:11"
    )
    assert (jobs[JobId("4")].state, jobs[JobId("4")].reason) == ("FAILED", "NonZeroExitCode")


def test_a_strange_name_hides_no_other_job() -> None:
    names = {job.job_id: job.name for job in list_good(MANY)}
    assert (names[JobId("6")], names[JobId("7")]) == ("a|b end|x", "line1\nline2")


def test_a_list_with_no_job_is_not_an_empty_answer() -> None:
    header = MANY.splitlines(keepends=True)[0]
    assert list_good(header) == ()
    assert isinstance(parse.parse_list(said("")), PollFailed)
    assert isinstance(parse.parse_list(said(MANY.removeprefix(header))), PollFailed)


def test_a_list_that_is_cut_off_is_no_answer() -> None:
    for length in range(len(MANY)):
        found = parse.parse_list(said(MANY[:length]))
        # Between two jobs nothing can be seen; there the exit code has to tell.
        assert isinstance(found, PollFailed) or MANY[:length].endswith("|end\n")


@pytest.mark.parametrize("code", [1, None, -9, 93])
def test_a_good_looking_list_counts_for_nothing_when_squeue_failed(code: int | None) -> None:
    assert isinstance(parse.parse_list(said(MANY, code=code)), PollFailed)


@pytest.mark.parametrize("line", ["||0:02|1:00|N/A|N/A|n1|None|x", "1|RUNNING|x", "||"])
def test_one_line_that_is_cut_off_spoils_the_list(line: str) -> None:
    assert isinstance(parse.parse_list(said(f"{MANY}{line}|end\n")), PollFailed)


@pytest.mark.parametrize("name", ["squeue-slurmctld-down", "squeue-slurmctld-frozen"])
def test_a_captured_failure_of_squeue_is_no_list(name: str) -> None:
    found = parse.parse_list(read_captured(name))
    assert isinstance(found, PollFailed)
    assert read_captured(name).stderr.strip() in found.message


def test_the_captured_accounting_is_read_whole() -> None:
    found = parse.parse_accounting(read_captured("sacct-many"))
    assert isinstance(found, Accounting)
    jobs = {job.name: job for job in found.jobs}

    assert jobs["mltm-cancelled"] == AccountingLine(
        JobId("9"), "CANCELLED by 0", "mltm-cancelled", 0, 0, "2026-11-24T01:51:04", "2026-11-24T01:51:06", 2, "n2", ""
    )
    assert (jobs["mltm-three"].exit_code, jobs["mltm-three"].signal) == (3, 0)
    assert (jobs["mltm-kill"].exit_code, jobs["mltm-kill"].signal) == (0, 9)
    assert (jobs["mltm-run"].state, jobs["mltm-run"].end) == ("RUNNING", None)
    assert found.named("mltm|bar")[0].job_id == "8"


def test_a_job_that_the_kernel_killed_for_its_memory_is_shown_so() -> None:
    listed = {job.name: job for job in list_good(read_captured("squeue-oom").stdout)}
    accounted = parse.parse_accounting(read_captured("sacct-oom"))

    assert (listed["mltm-oom"].state, listed["mltm-oom"].reason) == ("OUT_OF_MEMORY", "OutOfMemory")
    assert isinstance(accounted, Accounting)
    assert {(job.state, job.signal) for job in accounted.jobs} == {("OUT_OF_MEMORY", 125)}
    assert read_slurm_end(listed["mltm-oom"].state) is State.OUT_OF_MEMORY


def test_no_line_no_accounting_and_no_answer_are_three_things() -> None:
    assert parse.parse_accounting(read_captured("sacct-none")) == Accounting(())
    assert parse.parse_accounting(read_captured("sacct-without-accounting")) == NoAccounting()
    for failed in (read_captured("sacct-slurmdbd-down"), said(""), said(ACCOUNTED, code=1), said(ACCOUNTED[:-1])):
        assert isinstance(parse.parse_accounting(failed), PollFailed)


def test_a_pending_array_does_not_spoil_the_accounting() -> None:
    found = parse.parse_accounting(said(f"{ACCOUNTED}7_[1-4]|PENDING|0:0|Unknown|Unknown|0|None assigned|None|arr\n"))
    assert isinstance(found, Accounting)
    assert (found.jobs[-1].job_id, found.jobs[-1].node, found.jobs[-1].start) == ("7_[1-4]", "", None)


def test_the_captured_settings_tell_the_waits_and_whether_there_is_accounting() -> None:
    known = {"22.05": ("22.05.8", 30, 30), "24.11": ("24.11.5", 10, 12), "26.05": ("26.05.5", 10, 12)}
    assert set(known) == set(VERSIONS)
    for version, facts in known.items():
        without, with_it = (read_captured(f"scontrol-config{tail}", version) for tail in ("", "-accounting"))
        assert parse.parse_facts(without) == SlurmFacts(*facts, accounting=False)
        assert parse.parse_facts(with_it) == SlurmFacts(*facts, accounting=True)
        assert isinstance(parse.parse_facts(read_captured("scontrol-slurmctld-down", version)), PollFailed)
    assert isinstance(parse.parse_facts(said("")), PollFailed)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0:02", 2),
        ("1:05", 65),
        ("2:03:04", 7384),
        ("1-02:03:04", 93_784),
        ("90", 90),
        ("00:01.500", 1),
        ("UNLIMITED", None),
        ("INVALID", None),
        ("N/A", None),
        ("", None),
        (HUGE, None),
        ("1-1-1", None),
    ],
)
def test_a_duration_is_read_or_absent(text: str, seconds: int | None) -> None:
    assert parse.parse_duration_s(text) == seconds


def test_a_number_beyond_measure_raises_nothing() -> None:
    parse.parse_accounting(said(ACCOUNTED.replace("|3:0|", f"|{HUGE}:0|")))
    parse.parse_list(said(MANY.replace("|0:02|", f"|{HUGE}|")))
    parse.parse_facts(said(f"SLURM_VERSION = 1\nMinJobAge = {HUGE} sec\n"))


def mutate(text: str, at: int, length: int, new: str) -> str:
    at %= len(text) + 1
    return text[:at] + new + text[at + length :]


CAPTURED_TEXTS = [
    read_captured(name, version).stdout
    for version in VERSIONS
    for program in ("squeue", "sacct", "scontrol", "sbatch")
    for name in list_captured(program, version)
]


@pytest.mark.parametrize("parser", PARSERS)
@given(
    stdout=st.text()
    | st.builds(
        mutate,
        st.sampled_from(CAPTURED_TEXTS),
        st.integers(min_value=0),
        st.integers(0, 40),
        st.text() | st.sampled_from(["|", "|end\n", "\n", HUGE]),
    ),
    stderr=st.text(),
    code=st.none() | st.integers(-15, 255),
)
def test_no_text_makes_a_parser_raise(
    parser: Callable[[CommandResult], object], stdout: str, stderr: str, code: int | None
) -> None:
    found = parser(said(stdout, code=code, stderr=stderr))
    assert code == 0 or not isinstance(found, JobList | Accounting | SlurmFacts)
