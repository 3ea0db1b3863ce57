"""Parses what Slurm's programs print. Pure and total: any text gives a value, and none raises.

An answer that is cut off is not an answer (PollFailed): half a list would make jobs seem gone. A complete row counts,
whatever stands in it: a job that is not ours may have any id, state and name, and a strange one of ours is shown.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

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
from mltm.contract.ids import JobId, parse_job_name

__all__ = [
    "parse_accounting",
    "parse_duration_s",
    "parse_facts",
    "parse_list",
    "parse_submission",
]

_SUBMITTED = re.compile(r"(\d+)(;[\w.-]+)?\s*", re.ASCII)
# The first component of a heterogeneous job is the job whose id Slurm gives to its script.
_LEADER = re.compile(r"(\d+)\+0", re.ASCII)
# At most nine digits: Python refuses to parse a number of more than 4,300.
_DURATION = re.compile(r"(?:(\d{1,9})-)?(?:(\d{1,9}):)?(?:(\d{1,9}):)?(\d{1,9})(?:\.\d+)?", re.ASCII)
_EXIT = re.compile(r"(\d{1,9}):(\d{1,9})", re.ASCII)
_SETTING = re.compile(r"^(\w+)\s*= ?(.*)$", re.MULTILINE)
_LEADING_NUMBER = re.compile(r"\d{1,9}(?!\d)", re.ASCII)
# Where a site's sbatch is a shell script: the real one was killed. sbatch itself ends with 1 or 255.
_DIED_IN_A_SHELL = range(129, 193)
_LIST_HEADER = "JOBID|STATE|"
_NOTHING = frozenset({"", "N/A", "Unknown", "None", "(null)", "None assigned"})


def parse_submission(result: CommandResult, extra: ExtraTexts | None = None) -> SbatchAnswer:
    """Parse sbatch's answer. A job id on stdout and exit code 0 is `accepted`, whatever stderr says."""
    if result.not_started:
        return SbatchAnswer("transient", message=result.not_started)
    printed = _SUBMITTED.fullmatch(result.stdout)
    job_id = JobId(printed[1]) if printed else None
    message = read_message(result.stderr)
    if result.exit_code == 0 and job_id:
        return SbatchAnswer("accepted", job_id, message)
    if result.exit_code is None or result.exit_code < 0 or result.exit_code in _DIED_IN_A_SHELL:
        return SbatchAnswer("ambiguous", job_id, _join(message, f"sbatch was stopped after {result.duration_s:.0f} s"))
    if result.exit_code == 0 or job_id:
        return SbatchAnswer(
            "ambiguous",
            job_id,
            _join(message, f"sbatch ended with exit code {result.exit_code} and without a valid job id"),
        )
    refusal = classify_refusal(result.stderr, extra)
    said = message or f"sbatch ended with exit code {result.exit_code}"
    if refusal == "attention":
        return SbatchAnswer("transient", message=said, attention=True)
    return SbatchAnswer(refusal, message=said)


def parse_list(result: CommandResult, end: str = LIST_END) -> JobList | PollFailed:
    """Parse squeue's answer: all jobs, or PollFailed. end: what the call had squeue print behind each job."""
    if failure := _find_failure("squeue", result):
        return failure
    *records, rest = result.stdout.split(f"{end}\n")
    jobs = [_parse_job(record) for record in records[1:]]
    good = tuple(job for job in jobs if job is not None)
    if not records or not records[0].startswith(_LIST_HEADER) or rest.strip() or len(good) != len(jobs):
        return PollFailed(f"squeue's answer is incomplete or not valid: {_show(result.stdout)}")
    return JobList(good)


def _parse_job(record: str) -> JobLine | None:
    fields = record.split(COLUMN_END, len(LIST_COLUMNS) - 1)
    if len(fields) != len(LIST_COLUMNS):
        return None
    named = dict(zip(LIST_COLUMNS, fields, strict=True))
    if not named["job_id"].strip() or not named["state"].strip():  # Slurm leaves neither empty
        return None
    return JobLine(
        job_id=_read_job_id(named["job_id"]),
        state=named["state"],
        name=named["name"],
        reason=_text(named["reason"]) or "",
        node=_text(named["node"]) or "",
        elapsed_s=parse_duration_s(named["elapsed"]),
        time_limit_s=parse_duration_s(named["time_limit"]),
        start=_text(named["start"]),
        submit=_text(named["submit"]),
    )


def parse_accounting(result: CommandResult) -> Accounting | NoAccounting | PollFailed:
    """Parse sacct's answer. A site without accounting is a fact, not a failure."""
    if is_without_accounting(result.stderr):
        return NoAccounting(read_message(result.stderr))
    if failure := _find_failure("sacct", result):
        return failure
    header, *lines = result.stdout.split("\n")
    jobs = _parse_accounted_lines(lines[:-1])
    if header != COLUMN_END.join(ACCOUNTING_COLUMNS) or lines[-1:] != [""] or jobs is None:
        return PollFailed(f"sacct's answer is incomplete or not valid: {_show(result.stdout)}")
    return Accounting(jobs)


def _parse_accounted_lines(lines: Sequence[str]) -> tuple[AccountingLine, ...] | None:
    """All jobs; None if one is cut off. A line without a job belongs to the name above, if that is not ours."""
    jobs: list[AccountingLine] = []
    for line in lines:
        job = _parse_accounted(line)
        if job is not None:
            jobs.append(job)
        elif jobs and parse_job_name(jobs[-1].name) is None:
            jobs[-1] = replace(jobs[-1], name=f"{jobs[-1].name}\n{line}")
        else:
            return None
    return tuple(jobs)


def _parse_accounted(line: str) -> AccountingLine | None:
    fields = line.split(COLUMN_END, len(ACCOUNTING_COLUMNS) - 1)
    if len(fields) != len(ACCOUNTING_COLUMNS):
        return None
    job_id, state, code, start, end, elapsed, node, reason, name = fields
    if not job_id.strip() or not state.strip():
        return None
    ended = _EXIT.fullmatch(code)
    return AccountingLine(
        job_id=_read_job_id(job_id),
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


def _read_job_id(text: str) -> JobId:
    """The id as it is printed; of a heterogeneous job's leader (`4+0`) the one that its script is given."""
    leader = _LEADER.fullmatch(text.strip())
    return JobId(leader[1] if leader else text.strip())


def parse_facts(result: CommandResult) -> SlurmFacts | PollFailed:
    """Parse the answer of `scontrol show config`."""
    if failure := _find_failure("scontrol", result):
        return failure
    named = {name: value.strip() for name, value in _SETTING.findall(result.stdout)}
    if "SLURM_VERSION" not in named:
        return PollFailed(f"scontrol's answer has no version: {_show(result.stdout)}")
    storage = named.get("AccountingStorageType", "")
    return SlurmFacts(
        version=named["SLURM_VERSION"],
        min_job_age_s=_read_seconds(named.get("MinJobAge", ""), 300),
        kill_wait_s=_read_seconds(named.get("KillWait", ""), 30),
        accounting=storage not in _NOTHING and not storage.endswith("/none"),
    )


def parse_duration_s(text: str) -> int | None:
    """Parse Slurm's [days-][hours:][minutes:]seconds; None for UNLIMITED, INVALID, N/A and the like."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        return None
    days, first, second, last = found.groups()
    # "a:b" is minutes and seconds, "a:b:c" hours, minutes and seconds.
    hours, minutes = (first, second) if second is not None else (None, first)
    return int(days or 0) * 86_400 + int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(last)


def _find_failure(program: str, result: CommandResult) -> PollFailed | None:
    if result.not_started:
        return PollFailed(result.not_started)
    if result.timed_out:
        return PollFailed(f"{program} did not answer within {result.duration_s:.0f} s")
    if result.exit_code != 0:
        message = read_message(result.stderr) or "no reason given"
        end = "gave no answer" if result.exit_code is None else f"ended with exit code {result.exit_code}"
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
