"""What Slurm's refusals mean, as data: each text has a class. Evidence: slurm_errno.c of 22.05 to 26.05.

Upper and lower case are the same (some sites' plugins print lower case). A text that is not listed is ambiguous.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

__all__ = [
    "NOISE", "TEXTS", "ExtraTexts", "RefusalClass", "classify_refusal", "is_gone", "is_rate_limit",
    "is_without_accounting", "read_message",
]  # fmt: skip

RefusalClass = Literal["ambiguous", "transient", "limit", "permanent"]

# sbatch says that it tries again by itself. This is not an error.
NOISE = (
    "Slurm job queue full, sleeping and retrying",
    "Job creation temporarily disabled, retrying",
    "Slurm temporarily unable to accept job, sleeping and retrying",
)

# The request may have been accepted: nobody on this side can know.
_AMBIGUOUS = (
    "Socket timed out on send/recv operation",
    "Unable to contact slurm controller (send failure)",
    "Unable to contact slurm controller (receive failure)",
    "Unable to contact slurm controller (shutdown failure)",
    "Zero Bytes were transmitted or received",
    "Message send failure",
    "Message receive failure",
    "Unexpected message received",
    "Connection timed out reading",
    "Connection timed out writing",
    "Communication shutdown failure",
)

# Surely no job; the same request may be accepted later.
_TRANSIENT = (
    "Unable to contact slurm controller (connect failure)",
    "Connection timed out establishing",
    "Slurm backup controller in standby mode",
    "Controller is in standby mode, try a different controller",
    "Rate limit exceeded, please retry momentarily",
    "Rate limit exceeded, please retry later",
    "Unable to create job record, try again",
    "MaxJobCount limit reached",
    "Resource temporarily unavailable",
    "Requested nodes are busy",
    "Required ports are in use",
    "System submissions disabled",
    "Required partition not available (inactive or drain)",
    "Partition in DOWN state",
    "Requested partition configuration not available now",
    "Licenses currently unavailable",
    "Required node not available (down, drained or reserved)",
    "I/O error writing script/environment to file",
    "Unable to connect to database",
    "Authentication credential expired",
    "Protocol authentication error",
    "Invalid authentication credential",
    "Unable to process configuration file",
    "Could not establish a configuration source",
    "Invalid user for SlurmUser",
    # Our script is constant and never empty: on a network file system its bytes came late (nextflow #4154).
    "Batch script is empty!",
    "Cannot allocate memory",
    "Too many open files",
)

# Surely no job; another may be accepted when one of ours ends. The line before it says which limit.
_LIMIT = ("Job violates accounting/QOS policy",)

# Surely no job, ever, for this request.
_PERMANENT = (
    "Invalid partition name specified",
    "No partition specified or system default partition",
    "Access/permission denied",
    "User's group not permitted to use this partition",
    "Invalid account or account/partition combination specified",
    "Invalid qos specification",
    "Invalid wckey specification",
    "Invalid license specification",
    "Requested node configuration is not available",
    "More processors requested than permitted",
    "Node count specification invalid",
    "CPU count specification invalid",
    "Memory required by task is not available",
    "Requested time limit is invalid (missing or exceeds some limit)",
    "Time limit specification required, but not provided",
    "Invalid feature specification",
    "Invalid generic resource (gres) specification",
    "Invalid Trackable RESource (TRES) specification",
    "Requested reservation is invalid",
    "Access denied to requested reservation",
    "Requested account has breached requested QOS usage threshold",
    "Pathname of a file, directory or other parameter too long",
    "Job dependency problem",
    "Invalid job array specification",
    "Invalid user id",
    "Incompatible versions of client and server code",
    "Unable to open file",
    "Batch script contains only whitespace!",
    "This does not look like a batch script.",
    "contain a NULL character '\\0'",
    "Batch script contains DOS line breaks",
    # sbatch's own text for a value that it cannot read. It ends with 255 before it asks slurmctld (seen in 22.05).
    "Invalid --",
    "is not a valid node count",
    "unrecognized option",
)

TEXTS: MappingProxyType[RefusalClass, tuple[str, ...]] = MappingProxyType(
    {"ambiguous": _AMBIGUOUS, "transient": _TRANSIENT, "limit": _LIMIT, "permanent": _PERMANENT}
)

_GONE = ("Invalid job id specified", "already completing or completed", "Job/step already completing")

# Which limit "Job violates accounting/QOS policy" means: for a number of jobs, waiting helps; for a size, it does not.
_COUNT_LIMIT = re.compile(r"(max|grp)submitjobs?", re.IGNORECASE)
_SIZE_LIMIT = re.compile(r"maxwall|perjob|pernode|qosmin", re.IGNORECASE)
# The last error decides. What a site's plugin prints before this line is for people.
_CODE_LINE = re.compile(r"batch job submission failed:\s*(.*)", re.IGNORECASE)
_RATE_LIMIT = re.compile(r"rate[ -]?limit", re.IGNORECASE)
_NO_ACCOUNTING = re.compile(r"accounting storage is disabled", re.IGNORECASE)


@dataclass(frozen=True)
class ExtraTexts:
    """A site's own texts. They override ours."""

    transient: Sequence[str] = ()
    limit: Sequence[str] = ()
    permanent: Sequence[str] = ()


def classify_refusal(stderr: str, extra: ExtraTexts | None = None) -> RefusalClass:
    """Find the class of a failed sbatch's stderr. Never raises. An unknown text is ambiguous."""
    site = extra or ExtraTexts()
    own: tuple[tuple[RefusalClass, Sequence[str]], ...] = (
        ("permanent", site.permanent),
        ("limit", site.limit),
        ("transient", site.transient),
    )
    for outcome, texts in own:
        if _has_any(stderr, texts):
            return outcome
    lines = [line for line in stderr.splitlines() if line.strip() and not _has_any(line, NOISE)]
    found = _classify_last(lines)
    return _classify_limit(stderr) if found == "limit" else found


def _classify_last(lines: Sequence[str]) -> RefusalClass:
    codes = [match[1] for line in lines if (match := _CODE_LINE.search(line))]
    if codes:
        return _classify_line(codes[-1]) or "ambiguous"
    known = [found for line in lines if (found := _classify_line(line))]
    return known[-1] if known else "ambiguous"


def _classify_line(line: str) -> RefusalClass | None:
    return next((outcome for outcome, texts in TEXTS.items() if _has_any(line, texts)), None)


def _classify_limit(stderr: str) -> RefusalClass:
    if _COUNT_LIMIT.search(stderr) or not _SIZE_LIMIT.search(stderr):
        return "limit"
    return "permanent"


def _has_any(text: str, patterns: Sequence[str]) -> bool:
    lowered = text.lower()
    return any(pattern.strip() and pattern.lower() in lowered for pattern in patterns)


def is_rate_limit(stderr: str) -> bool:
    """True if Slurm says that this user calls too often (23.02 and newer)."""
    return _RATE_LIMIT.search(stderr) is not None


def is_gone(stderr: str) -> bool:
    """True if scancel says of every job that it is over or unknown: nothing is left to cancel."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    return bool(lines) and all(_has_any(line, _GONE) for line in lines)


def is_without_accounting(stderr: str) -> bool:
    """True if sacct says that this site keeps no accounting."""
    return _NO_ACCOUNTING.search(stderr) is not None


def read_message(stderr: str) -> str:
    """Read Slurm's own message: the lines without the program's name and without noise, at most 500 characters."""
    lines = [
        re.sub(r"^\w+: (error|fatal): ", "", line.strip())
        for line in stderr.splitlines()
        if line.strip() and not _has_any(line, NOISE)
    ]
    return "; ".join(lines)[:500]
