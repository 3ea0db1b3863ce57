"""Slurm's ways of writing times, durations and formats, both ways. Pure."""

import re
import time

SHORT_STATES = {
    "PENDING": "PD",
    "RUNNING": "R",
    "SUSPENDED": "S",
    "COMPLETING": "CG",
    "COMPLETED": "CD",
    "CANCELLED": "CA",
    "FAILED": "F",
    "TIMEOUT": "TO",
    "NODE_FAIL": "NF",
    "PREEMPTED": "PR",
    "OUT_OF_MEMORY": "OOM",
    "DEADLINE": "DL",
    "BOOT_FAIL": "BF",
}
_FIELD = re.compile(r"%(\.?)(\d*)([A-Za-z])")
_DAYS = re.compile(r"(\d+)-(\d+)(?::(\d+))?(?::(\d+))?")
_RELATIVE = re.compile(r"now(?:([+-])(\d+)(second|minute|hour|day|week)?s?)?")
_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800, None: 1}
_TIMES = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d")


def render_time(at: float | None, absent: str) -> str:
    """Write a moment in this process's time zone, as squeue and sacct do."""
    return absent if at is None else time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(at))


def render_elapsed(seconds: float, *, full: bool = False) -> str:
    """Write a duration: squeue's way (1:05, 1-02:03:04), or with `full` sacct's (00:01:05)."""
    whole = max(0, int(seconds))
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    if days:
        return f"{days}-{hours:02}:{minutes:02}:{left:02}"
    if hours or full:
        return f"{hours:02}:{minutes:02}:{left:02}" if full else f"{hours}:{minutes:02}:{left:02}"
    return f"{minutes}:{left:02}"


def parse_minutes(text: str) -> int | None:
    """Read a time limit as whole minutes, seconds rounded up; None when it is no time."""
    if found := _DAYS.fullmatch(text):
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return days * 1440 + hours * 60 + minutes + (seconds > 0)
    parts = text.split(":")
    if not all(part.isdigit() for part in parts) or len(parts) > 3:
        return None
    numbers = [int(part) for part in parts]
    if len(numbers) == 3:
        return numbers[0] * 60 + numbers[1] + (numbers[2] > 0)
    return numbers[0] + (len(numbers) == 2 and numbers[1] > 0)


def parse_moment(text: str, now: float) -> float | None:
    """Read `now-1hour`, `2026-11-24T10:00[:00]`, or a date; None when it is none of them."""
    if found := _RELATIVE.fullmatch(text):
        sign, number, unit = found.groups()
        return now + (-1 if sign == "-" else 1) * int(number or 0) * _UNITS[unit]
    for shape in _TIMES:
        try:
            return time.mktime(time.strptime(text, shape))
        except ValueError:
            continue
    return None


def parse_megabytes(text: str) -> int | None:
    """Read a memory size (4000, 4000M, 2G) as MB; None when it is none."""
    found = re.fullmatch(r"(\d+)([KMGT]?)B?", text, re.IGNORECASE)
    if found is None:
        return None
    factor = {"K": 1 / 1024, "": 1, "M": 1, "G": 1024, "T": 1024 * 1024}[found[2].upper()]
    return int(int(found[1]) * factor)


def fill_format(pattern: str, values: dict[str, str]) -> str:
    """Fill squeue's `%.18i %T` with values by letter; a width cuts, a dot puts to the right."""

    def fill(found: re.Match[str]) -> str:
        right, width, letter = found.groups()
        text = values.get(letter, "")
        if not width:
            return text
        text = text[: int(width)]
        return text.rjust(int(width)) if right else text.ljust(int(width))

    return _FIELD.sub(fill, pattern)
