"""Every text of sbatch's and its class: whether a job may exist, and whether to try again."""

import pytest

from agent.slurm.errors import (
    NOISE,
    ExtraTexts,
    RefusalClass,
    classify_refusal,
    is_gone,
    is_rate_limit,
    is_without_accounting,
    read_message,
)
from agent.slurm.parse import parse_submission
from tests.agent.slurm.captured import list_captured, read_captured

# Written down here a second time on purpose, from slurm_errno.c: a text that is lost or moved in errors.py is seen.
AMBIGUOUS = """
Socket timed out on send/recv operation
Unable to contact slurm controller (send failure)
Unable to contact slurm controller (receive failure)
Unable to contact slurm controller (shutdown failure)
Zero Bytes were transmitted or received
Message send failure
Message receive failure
Unexpected message received
Connection timed out reading
Connection timed out writing
Communication shutdown failure
Connection reset by peer
A reply that a Slurm yet to be written could not receive
"""
TRANSIENT = """
Unable to contact slurm controller (connect failure)
Connection timed out establishing
Slurm backup controller in standby mode
Controller is in standby mode, try a different controller
Rate limit exceeded, please retry momentarily
Rate limit exceeded, please retry later
Unable to create job record, try again
MaxJobCount limit reached
Resource temporarily unavailable
Requested nodes are busy
Required ports are in use
System submissions disabled
Required partition not available (inactive or drain)
Partition in DOWN state
Licenses currently unavailable
Required node not available (down, drained or reserved)
I/O error writing script/environment to file
Unable to connect to database
Authentication credential expired
Protocol authentication error
Invalid authentication credential
Cannot allocate memory
Too many open files
"""
PERMANENT = """
Invalid partition name specified
No partition specified or system default partition
Access/permission denied
User's group not permitted to use this partition
Invalid account or account/partition combination specified
Invalid qos specification
Invalid license specification
Requested node configuration is not available
More processors requested than permitted
Node count specification invalid
CPU count specification invalid
Memory required by task is not available
Requested time limit is invalid (missing or exceeds some limit)
Time limit specification required, but not provided
Invalid feature specification
Invalid generic resource (gres) specification
Invalid Trackable RESource (TRES) specification
Requested reservation is invalid
Access denied to requested reservation
Job dependency problem
Invalid job array specification
"""
ATTENTION = """
Invalid wckey specification
Requested partition configuration not available now
Requested account has breached requested QOS usage threshold
Pathname of a file, directory or other parameter too long
Invalid user id
Incompatible versions of client and server code
A text of a Slurm that is yet to be written
"""
LOCAL: tuple[tuple[str, RefusalClass], ...] = (
    ("sbatch: error: Unable to open file /spool/wrapper.sh", "transient"),
    ("sbatch: error: Batch script is empty!", "transient"),  # on NFS its bytes came late (nextflow #4154)
    ("sbatch: error: Batch script contains only whitespace!", "attention"),
    ("sbatch: error: This does not look like a batch script.  The first", "attention"),
    ("sbatch: error: contain a NULL character '\\0'.", "attention"),
    ("sbatch: error: Batch script contains DOS line breaks (\\r\\n)", "attention"),
    ("sbatch: error: Invalid --time specification", "permanent"),
    ('sbatch: error: "x" is not a valid node count', "permanent"),
    ("sbatch: unrecognized option '--nope'", "attention"),
    ("sbatch: fatal: Unable to process configuration file", "transient"),
    ("sbatch: fatal: Invalid user for SlurmUser slurm, ignored", "transient"),
)
TABLE: list[tuple[str, RefusalClass]] = [
    *((text, "ambiguous") for text in AMBIGUOUS.strip().splitlines()),
    *((text, "transient") for text in TRANSIENT.strip().splitlines()),
    *((text, "attention") for text in ATTENTION.strip().splitlines()),
    *((text, "permanent") for text in PERMANENT.strip().splitlines()),
]
POLICY = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
LIMITS: tuple[tuple[str, RefusalClass], ...] = (
    ("AssocMaxSubmitJobLimit", "limit"),
    ("AssocGrpSubmitJobsLimit", "limit"),
    ("QOSMaxSubmitJobPerUserLimit", "limit"),
    ("qosmaxsubmitjobperuserlimit", "limit"),
    ("QOSGrpSubmitJobsLimit", "limit"),
    ("MaxSubmitJobsPerAccount", "limit"),
    ("", "limit"),
    ("AssocMaxWallDurationPerJobLimit", "permanent"),
    ("QOSMaxWallDurationPerJobLimit", "permanent"),
    ("QOSMaxCpuPerJobLimit", "permanent"),
    ("qosmaxcpuperjoblimit", "permanent"),
    ("QOSMaxNodePerJobLimit", "permanent"),
    ("QOSMaxMemoryPerNode", "permanent"),
    ("QOSMinGRES", "permanent"),
)
CAPTURED: dict[str, str] = {
    "sbatch-accepted": "accepted",
    "sbatch-bad-account": "permanent",
    "sbatch-bad-array": "permanent",
    "sbatch-bad-begin": "permanent",
    "sbatch-bad-constraint": "permanent",
    "sbatch-bad-dependency": "permanent",
    "sbatch-bad-license": "permanent",
    "sbatch-bad-memory": "permanent",
    "sbatch-bad-nodes": "permanent",
    "sbatch-bad-partition": "permanent",
    "sbatch-bad-qos": "permanent",
    "sbatch-bad-reservation": "permanent",
    "sbatch-bad-time": "permanent",
    "sbatch-dos-script": "transient",
    "sbatch-empty-script": "transient",
    "sbatch-long-time": "permanent",
    "sbatch-many-cpus": "permanent",
    "sbatch-many-gpus": "permanent",
    "sbatch-many-nodes": "permanent",
    "sbatch-much-memory": "permanent",
    "sbatch-no-configuration": "transient",
    "sbatch-no-file": "transient",
    "sbatch-no-shebang": "transient",
    "sbatch-no-slurm-conf": "transient",
    "sbatch-null-script": "transient",
    "sbatch-partition-inactive": "transient",
    "sbatch-slurmctld-down": "transient",
    "sbatch-slurmctld-frozen": "ambiguous",
    "sbatch-submit-limit": "limit",
    "sbatch-white-script": "transient",
}


@pytest.mark.parametrize(("text", "outcome"), TABLE)
def test_a_text_of_slurmctld_has_its_class_in_any_case(text: str, outcome: RefusalClass) -> None:
    said = f"sbatch: error: Batch job submission failed: {text}\n"
    assert [classify_refusal(form) for form in (said, said.lower(), said.upper())] == [outcome] * 3


@pytest.mark.parametrize(("text", "outcome"), LOCAL)
def test_a_text_of_sbatch_itself_has_its_class(text: str, outcome: RefusalClass) -> None:
    assert classify_refusal(text + "\n") == outcome


@pytest.mark.parametrize(("reason", "outcome"), LIMITS)
def test_the_line_before_tells_a_limit_of_jobs_from_one_of_size(reason: str, outcome: RefusalClass) -> None:
    said = f"sbatch: error: {reason}\n" if reason else ""
    assert classify_refusal(f"{said}sbatch: error: Batch job submission failed: {POLICY}\n") == outcome


def test_every_captured_answer_of_sbatch_is_in_the_table() -> None:
    assert list_captured("sbatch") == sorted(CAPTURED)


@pytest.mark.parametrize(("name", "outcome"), CAPTURED.items())
def test_a_captured_answer_has_its_class(name: str, outcome: str) -> None:
    answer = parse_submission(read_captured(name))

    assert answer.outcome == outcome
    assert (answer.job_id is not None) is (outcome == "accepted")
    assert outcome == "accepted" or answer.message


@pytest.mark.parametrize("noise", NOISE)
def test_noise_alone_says_nothing(noise: str) -> None:
    assert classify_refusal(f"sbatch: error: {noise}\n") == "ambiguous"
    assert read_message(f"sbatch: error: {noise}\n") == ""
    refused = f"sbatch: error: {noise}\nsbatch: error: Batch job submission failed: Invalid qos specification\n"
    assert classify_refusal(refused) == "permanent"
    assert read_message(refused) == "Batch job submission failed: Invalid qos specification"


def test_the_code_line_goes_before_what_a_plugin_prints() -> None:
    plugin = "sbatch: error: Please say --account. Access/permission denied otherwise.\n"
    assert classify_refusal(f"{plugin}sbatch: error: Batch job submission failed: Requested nodes are busy\n") == (
        "transient"
    )
    assert classify_refusal(f"{plugin}sbatch: error: Batch job submission failed: Invalid user id\n") == "attention"


def test_the_last_try_decides() -> None:
    lines = ("Requested nodes are busy", "Socket timed out on send/recv operation")
    said = "".join(f"sbatch: error: Batch job submission failed: {line}\n" for line in lines)
    assert classify_refusal(said) == "ambiguous"


@pytest.mark.parametrize("outcome", ["transient", "limit", "permanent"])
def test_a_sites_own_texts_go_first(outcome: RefusalClass) -> None:
    extra = ExtraTexts(**{outcome: ["", "project QUOTA spent"]})
    said = "sbatch: error: Project quota spent\nsbatch: error: Batch job submission failed: Unspecified error\n"
    assert classify_refusal(said, extra) == outcome
    assert classify_refusal("something else", extra) == "ambiguous"


def test_a_rate_limit_is_seen() -> None:
    assert is_rate_limit("squeue: error: Rate limit exceeded, please retry momentarily")
    assert is_rate_limit("slurm_load_jobs error: RPC RATE_LIMIT: rate-limit exceeded")
    assert not is_rate_limit("Requested nodes are busy")


def test_a_job_that_is_over_is_gone_and_an_unreachable_slurm_is_not() -> None:
    assert is_gone(read_captured("scancel-ended-job").stderr)
    assert is_gone(read_captured("scancel-unknown-job").stderr)
    assert not is_gone(read_captured("scancel-slurmctld-down").stderr)
    assert not is_gone(read_captured("scancel-unknown-job").stderr + "Access/permission denied\n")
    assert not is_gone("")


def test_a_site_without_accounting_is_known_by_its_words() -> None:
    assert is_without_accounting(read_captured("sacct-without-accounting").stderr)
    assert not is_without_accounting(read_captured("sacct-slurmdbd-down").stderr)
