"""What Slurm's programs print, read into values. Pure and total: any text gives a value, none raises.

Anything that is not exactly what was asked for is no answer (PollFailed): half a list would make jobs look gone.
"""

import re

from agent.slurm.commands import ACCOUNTING_COLUMNS, COLUMN_END, LIST_COLUMNS, LIST_END
from agent.slurm.errors import ExtraTexts, classify_refusal, is_without_accounting, read_message
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

__all__ = [
    "parse_accounting",
    "parse_duration_s",
    "parse_facts",
    "parse_list",
    "parse_submission",
]

_SUBMITTED = re.compile(r"(\d+)(;[\w.-]+)?\s*", re.ASCII)
_JOB_ID = re.compile(r"\d+(_\d+)?", re.ASCII)
# Nine digits at most: Python refuses to make a number of 4,300 and more.
_DURATION = re.compile(r"(?:(\d{1,9})-)?(?:(\d{1,9}):)?(?:(\d{1,9}):)?(\d{1,9})(?:\.\d+)?", re.ASCII)
_STATE = re.compile(r"[A-Za-z_+]+( by \d+)?", re.ASCII)
_EXIT = re.compile(r"(\d{1,9}):(\d{1,9})", re.ASCII)
_SETTING = re.compile(r"^(\w+)\s*= ?(.*)$", re.MULTILINE)
_LEADING_NUMBER = re.compile(r"\d{1,9}(?!\d)", re.ASCII)
_LIST_HEADER = "JOBID|STATE|"
_NOTHING = frozenset({"", "N/A", "Unknown", "None", "(null)", "None assigned"})


def parse_submission(result: CommandResult, extra: ExtraTexts | None = None) -> SbatchAnswer:
    """Read sbatch's answer. stdout goes first: a job id and exit 0 is accepted, whatever stderr says."""
    if result.not_started:
        return SbatchAnswer("transient", message=result.not_started)
    printed = _SUBMITTED.fullmatch(result.stdout)
    job_id = JobId(printed[1]) if printed else None
    message = read_message(result.stderr)
    if result.exit_code == 0 and job_id:
        return SbatchAnswer("accepted", job_id, message)
    if result.exit_code is None or result.exit_code < 0:
        return SbatchAnswer("ambiguous", job_id, _join(message, f"sbatch was ended after {result.duration_s:.0f} s"))
    if result.exit_code == 0 or job_id:
        return SbatchAnswer(
            "ambiguous", job_id, _join(message, f"sbatch ended with {result.exit_code} and no clear id")
        )
    return SbatchAnswer(
        classify_refusal(result.stderr, extra), message=message or f"sbatch ended with {result.exit_code}"
    )


def parse_list(result: CommandResult) -> JobList | PollFailed:
    """Read squeue's answer: all jobs, or no answer at all."""
    if trouble := _find_trouble("squeue", result):
        return trouble
    *records, rest = result.stdout.split(f"{LIST_END}\n")
    jobs = [_parse_job(record) for record in records[1:]]
    good = tuple(job for job in jobs if job is not None)
    if not records or not records[0].startswith(_LIST_HEADER) or rest.strip() or len(good) != len(jobs):
        return PollFailed(f"squeue's answer is cut off or strange: {_show(result.stdout)}")
    return JobList(good)


def _parse_job(record: str) -> JobLine | None:
    fields = record.split(COLUMN_END, len(LIST_COLUMNS) - 1)
    if len(fields) != len(LIST_COLUMNS):
        return None
    said = dict(zip(LIST_COLUMNS, fields, strict=True))
    if not _JOB_ID.fullmatch(said["job_id"]) or not _STATE.fullmatch(said["state"]):
        return None
    return JobLine(
        job_id=JobId(said["job_id"]),
        state=said["state"],
        name=said["name"],
        reason=_text(said["reason"]) or "",
        node=_text(said["node"]) or "",
        elapsed_s=parse_duration_s(said["elapsed"]),
        time_limit_s=parse_duration_s(said["time_limit"]),
        start=_text(said["start"]),
        submit=_text(said["submit"]),
    )


def parse_accounting(result: CommandResult) -> Accounting | NoAccounting | PollFailed:
    """Read sacct's answer. A site without accounting is a fact, not a failure."""
    if is_without_accounting(result.stderr):
        return NoAccounting(read_message(result.stderr))
    if trouble := _find_trouble("sacct", result):
        return trouble
    header, *lines = result.stdout.split("\n")
    jobs = [_parse_accounted(line) for line in lines[:-1]]
    good = tuple(job for job in jobs if job is not None)
    if header != COLUMN_END.join(ACCOUNTING_COLUMNS) or lines[-1:] != [""] or len(good) != len(jobs):
        return PollFailed(f"sacct's answer is cut off or strange: {_show(result.stdout)}")
    return Accounting(good)


def _parse_accounted(line: str) -> AccountingLine | None:
    fields = line.split(COLUMN_END, len(ACCOUNTING_COLUMNS) - 1)
    if len(fields) != len(ACCOUNTING_COLUMNS):
        return None
    job_id, state, code, start, end, elapsed, node, reason, name = fields
    ended = _EXIT.fullmatch(code)
    # A pending array is one line, `6_[1-4]`; it is no job of ours but it is a good line.
    if not re.match(r"\d+", job_id, re.ASCII) or not _STATE.fullmatch(state):
        return None
    return AccountingLine(
        job_id=JobId(job_id),
        state=state,
        name=name,
        exit_code=int(ended[1]) if ended else None,
        signal=int(ended[2]) if ended else None,
        start=_text(start),
        end=_text(end),
        elapsed_s=parse_duration_s(elapsed),
        node=_text(node) or "",
        reason=_text(reason) or "",
    )


def parse_facts(result: CommandResult) -> SlurmFacts | PollFailed:
    """Read `scontrol show config`."""
    if trouble := _find_trouble("scontrol", result):
        return trouble
    said = {name: value.strip() for name, value in _SETTING.findall(result.stdout)}
    if "SLURM_VERSION" not in said:
        return PollFailed(f"scontrol's answer names no version: {_show(result.stdout)}")
    storage = said.get("AccountingStorageType", "")
    return SlurmFacts(
        version=said["SLURM_VERSION"],
        min_job_age_s=_read_seconds(said.get("MinJobAge", ""), 300),
        kill_wait_s=_read_seconds(said.get("KillWait", ""), 30),
        accounting=storage not in _NOTHING and not storage.endswith("/none"),
    )


def parse_duration_s(text: str) -> int | None:
    """Read Slurm's [days-][hours:][minutes:]seconds; None for UNLIMITED, INVALID, N/A and the like."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        return None
    days, first, second, last = found.groups()
    # "a:b" is minutes and seconds, "a:b:c" hours, minutes and seconds.
    hours, minutes = (first, second) if second is not None else (None, first)
    return int(days or 0) * 86_400 + int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(last)


def _find_trouble(program: str, result: CommandResult) -> PollFailed | None:
    if result.not_started:
        return PollFailed(result.not_started)
    if result.timed_out:
        return PollFailed(f"{program} did not answer within {result.duration_s:.0f} s")
    if result.exit_code != 0:
        message = read_message(result.stderr) or "it gave no reason"
        end = "gave no answer" if result.exit_code is None else f"ended with {result.exit_code}"
        return PollFailed(f"{program} {end}: {message}")
    return None


def _read_seconds(text: str, default: int) -> int:
    found = _LEADING_NUMBER.match(text)
    return int(found[0]) if found else default


def _text(value: str) -> str | None:
    return None if value.strip() in _NOTHING else value.strip()


def _join(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _show(text: str) -> str:
    return repr(text[-200:])
