"""What Slurm's refusals mean: whether a job may exist, and whether the same request may be accepted later.

Only trouble of communication is ambiguous. What slurmctld or sbatch itself answered, and any exit before sending,
surely made no job. Permanent is only what is wrong with the task's own request; our constant script, our account and
the cluster's state are tried again. Upper and lower case are the same: some sites' plugins print lower case.
"""

import errno
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from agent.slurm import error_texts
from agent.slurm.other_error_texts import OTHER
from agent.slurm.reasons import find_reason

__all__ = [
    "NOISE", "TEXTS", "ExtraTexts", "RefusalClass", "classify_refusal", "is_gone", "is_rate_limit",
    "is_without_accounting", "read_message",
]  # fmt: skip

#: ambiguous: a job may exist. The others: surely no job. transient, attention: the same request is tried again;
#: attention: a person should look. limit: tried again, when a job of ours ends. permanent: never.
RefusalClass = Literal["ambiguous", "transient", "attention", "limit", "permanent"]

# sbatch says that it tries again by itself. This is not an error.
NOISE = (
    "Slurm job queue full, sleeping and retrying",
    "Job creation temporarily disabled, retrying",
    "Slurm temporarily unable to accept job, sleeping and retrying",
)

# libc's texts, where Slurm passes on an errno of a socket that was connected.
_BROKEN_SOCKET = tuple(
    os.strerror(number)
    for number in (
        errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT, errno.ENOTCONN, errno.ESHUTDOWN,
        errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EINTR,
    )
)  # fmt: skip
_MACHINE = tuple(
    os.strerror(number) for number in (errno.ECONNREFUSED, errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
)

# sbatch's own, before it asks slurmctld (sbatch.c, opt.c, slurm_opt.c, read_config.c).
_LOCAL_TRANSIENT = (
    "Unable to process configuration file",
    "Could not establish a configuration source",
    "Invalid user for SlurmUser",
    # Our script is constant and never empty: on a network file system its bytes came late (nextflow #4154), and an
    # upgrade of the agent puts another one in its place.
    "Batch script is empty!",
    "Unable to open file",
    "Cannot stat",
    "Unable to load file for reading",
)
_LOCAL_ATTENTION = (
    "Batch script contains only whitespace!",
    "This does not look like a batch script.",
    "contain a NULL character '\\0'",
    "Batch script contains DOS line breaks",
    "unrecognized option",  # an option of ours that this sbatch does not know
    "Failed to initialize plugin stack",
    "Plugin stack post-option processing failed",
    "failed to initialize cli_filter plugin",
)
_LOCAL_PERMANENT = (
    "Invalid --",  # a value that sbatch cannot read
    "is not a valid node count",
    "Maximum node count",
    "invalid number of",
    "Too few processes for the requested",
)

TEXTS: MappingProxyType[RefusalClass, tuple[str, ...]] = MappingProxyType(
    {
        "ambiguous": (*error_texts.UNANSWERED, *_BROKEN_SOCKET),
        "transient": (*error_texts.TRANSIENT, *_LOCAL_TRANSIENT, *_MACHINE),
        "attention": (*error_texts.ATTENTION, *_LOCAL_ATTENTION, *OTHER),
        "limit": error_texts.VIOLATES_LIMIT,
        "permanent": (*error_texts.PERMANENT, *_LOCAL_PERMANENT),
    }
)

_LOWERED = {outcome: tuple(text.lower() for text in texts) for outcome, texts in TEXTS.items()}
_GONE = ("Invalid job id specified", "already completing or completed", "Job/step already completing")

# The site itself refuses, and this line only ends its words: a plugin's return code that means nothing to Slurm (lua's
# slurm.ERROR, 1, numbers of its own), or a cli_filter.
_SITES_CODE = re.compile(
    r"(?:Unspecified error|Operation not permitted|Unknown (?:negative )?error.*)\s*", re.IGNORECASE
)
_SITES_FILTER = "cli_filter plugin terminated with error"
_CHATTER = re.compile(r"^\s*sbatch: (?:warning|debug\d?|verbose)\b", re.IGNORECASE)
# The site says that it is not for ever, or its plugin is broken (24.05 and newer show lua's own error).
_MAY_PASS = re.compile(
    r"\b(?:try again|retry|later|temporar\w+|maintenance|currently|(?:at|for) (?:the|this) moment|right now|until"
    r"|unavailable|not available|outage|downtime|closed|internal error)\b"
    r"|\.lua:\d+:|attempt to (?:index|call|compare|concatenate|perform)",
    re.IGNORECASE,
)
# Which limit "Job violates accounting/QOS policy" means: for a number of jobs, waiting helps. Each other limit that
# slurmctld checks at a submission is compared with the request alone (acct_policy.c), so waiting does not.
_COUNT_LIMIT = re.compile(r"submitjobs?", re.IGNORECASE)
# The last error decides. What is printed before this line is for people.
_CODE_LINE = re.compile(r"batch job submission failed:\s*(.*)", re.IGNORECASE)
# slurmctld's reply came, and cannot be proved to be its: the request may have been accepted.
_UNPROVED_REPLY = re.compile(r"auth_g_(?:unpack|verify)\b.*\bRESPONSE_", re.IGNORECASE)
_PROGRAM = re.compile(r"^\s*sbatch: ", re.IGNORECASE)
# How a text would speak of a connection that no version of ours knows.
_OF_A_CONNECTION = re.compile(
    r"timed? ?out|connect|socket|communicat|contact|transmi|\b(?:send|sent|receiv\w+|reply|network)\b", re.IGNORECASE
)
_PREFIX = re.compile(r"^(?:\w+: )?(?:error|fatal|warning): |^s(?:batch|queue|acct|cancel|control): ", re.IGNORECASE)
_RATE_LIMIT = re.compile(r"rate[ -]?limit", re.IGNORECASE)
_NO_ACCOUNTING = re.compile(r"accounting storage is disabled", re.IGNORECASE)


@dataclass(frozen=True)
class ExtraTexts:
    """A site's own texts. They override ours."""

    transient: Sequence[str] = ()
    limit: Sequence[str] = ()
    permanent: Sequence[str] = ()


def classify_refusal(stderr: str, extra: ExtraTexts | None = None) -> RefusalClass:
    """Find the class of the stderr of an sbatch that ended by itself, and failed. Never raises."""
    site = extra or ExtraTexts()
    own: tuple[tuple[RefusalClass, Sequence[str]], ...] = (
        ("permanent", site.permanent),
        ("limit", site.limit),
        ("transient", site.transient),
    )
    for outcome, texts in own:
        if _has_any(stderr, texts):
            return outcome
    if _UNPROVED_REPLY.search(stderr):
        return "ambiguous"
    lines = [line for line in stderr.splitlines() if line.strip() and not _has_any(line, NOISE)]
    found = _classify_lines(lines)
    return _classify_limit(stderr) if found == "limit" else found


def _classify_lines(lines: Sequence[str]) -> RefusalClass:
    codes = [line for line in lines if _CODE_LINE.search(line)]
    last = codes[-1] if codes else next((line for line in reversed(lines) if _is_known(line)), "")
    if _ends_sites_words(last):
        return _classify_sites([line for line in lines if not _CODE_LINE.search(line) and not _ends_sites_words(line)])
    if found := _classify_text(last):
        return found
    # error_texts has the whole table of Slurm's library: this is a newer Slurm, a plugin, or not sbatch at all.
    is_sbatchs = any(_PROGRAM.search(line) for line in lines)
    speaks_of_connection = any(_OF_A_CONNECTION.search(line) for line in (codes[-1:] or lines))
    return "attention" if is_sbatchs and not speaks_of_connection else "ambiguous"


def _is_known(line: str) -> bool:
    return _classify_text(line) is not None or _ends_sites_words(line)


def _ends_sites_words(line: str) -> bool:
    code = _CODE_LINE.search(line)
    return _SITES_CODE.fullmatch(code[1]) is not None if code else _has_any(line, (_SITES_FILTER,))


def _classify_text(text: str) -> RefusalClass | None:
    """The class of the longest text in it that we know: some are the beginning of others."""
    lowered = text.lower()
    found = [(len(known), outcome) for outcome, texts in _LOWERED.items() for known in texts if known in lowered]
    return max(found, key=lambda each: each[0])[1] if found else None


def _classify_sites(lines: Sequence[str]) -> RefusalClass:
    """The site's plugin refused: for good if it says why. Without a word, nobody can say that the task is wrong."""
    words = [line for line in lines if not _CHATTER.search(line)]
    return "permanent" if words and not any(_MAY_PASS.search(line) for line in words) else "attention"


def _classify_limit(stderr: str) -> RefusalClass:
    named = [reason for word in re.findall(r"\w+", stderr) if (reason := find_reason(word)) is not None]
    is_of_size = not _COUNT_LIMIT.search(stderr) and any(reason.kind in {"limit", "stuck"} for reason in named)
    return "permanent" if is_of_size else "limit"


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
    """Read Slurm's and the site's own message, without the program's name and noise, at most 2,000 characters.

    A line that only ends the site's words ("Unspecified error") is left out, if there are such words.
    """
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not _has_any(line, NOISE)]
    said = [line for line in lines if not _ends_sites_words(line)] or lines
    return "; ".join(_PREFIX.sub("", line, count=1) for line in said)[:2000]
