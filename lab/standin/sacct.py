"""The stand-in's sacct."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from lab.standin import faults, schedule, state
from lab.standin.options import parse_options
from lab.standin.words import parse_moment, render_elapsed, render_time

SHORT = "nPpXS:E:o:j:u:s:DaA:"
LONG = {
    "noheader": "n", "parsable2": "P", "parsable": "p", "allocations": "X", "starttime=": "S", "endtime=": "E",
    "format=": "o", "jobs=": "j", "name=": "", "user=": "u", "state=": "s", "duplicates": "D", "allusers": "a",
    "array": "", "accounts=": "A",
}  # fmt: skip
FORMAT = "JobID,JobName,Partition,Account,AllocCPUS,State,ExitCode"
DISABLED = "Slurm accounting storage is disabled"


def run(folder: Path, arguments: list[str], fault: faults.Fault) -> int:
    """List jobs from accounting; meet the faults of slurmdbd."""
    options, _ = parse_options("sacct", arguments, SHORT, LONG)
    ids = options["jobs"].split(",") if "jobs" in options else []
    if bad := [word for word in ids if not word.isdigit()]:
        sys.stderr.write(f"sacct: fatal: Bad job/step specified: {bad[0]}\n")
        return 1
    if fault["mode"] == "absent" or not state.read_settings(folder)["accounting"]:
        sys.stderr.write(DISABLED + "\n")
        return 1
    if fault["mode"] == "slow":
        time.sleep(float(fault.get("seconds", 5)))
    columns = options.get("format", FORMAT).split(",")
    if bad := [column for column in columns if column.lower() not in FIELDS]:
        sys.stderr.write(f'sacct: error: Invalid field requested: "{bad[0]}"\n')
        return 1
    with state.locked(folder):
        schedule.start_what_fits(folder)
        jobs = state.list_jobs(folder, old=True)
    if fault["mode"] == "behind":
        jobs = look_back(jobs, time.time() - float(fault.get("seconds", 60)))
    now = time.time()
    since = parse_moment(options.get("starttime", time.strftime("%Y-%m-%d")), now) or 0.0
    sys.stdout.write(render([job for job in jobs if is_wanted(job, options, ids, since)], columns, options))
    return 0


def look_back(jobs: list[state.Job], then: float) -> list[state.Job]:
    """Return what accounting knew at that moment."""
    known = [job for job in jobs if job["submit"] <= then]
    return [
        job if job["end"] is None or job["end"] <= then else job | {"state": "RUNNING", "end": None, "exit_code": "0:0"}
        for job in known
    ]


def is_wanted(job: state.Job, options: dict[str, str], ids: list[str], since: float) -> bool:
    """Tell whether the filters let a job through; one that may not start yet is not in accounting's sight."""
    is_eligible = job["state"] != "PENDING" or not (job["hold"] or job["reason"] in ("BeginTime", "Dependency"))
    return (
        is_eligible
        and (job["end"] is None or job["end"] >= since)
        and (not ids or str(job["id"]) in ids)
        and ("name" not in options or job["name"] in options["name"].split(","))
        and ("user" not in options or job["user"] in options["user"].split(",") or str(job["uid"]) in options["user"])
    )


def render(jobs: list[state.Job], columns: list[str], options: dict[str, str]) -> str:
    """Return sacct's text: with bars, or in columns ten wide."""
    rows = [] if "noheader" in options else [columns]
    rows += [[FIELDS[column.lower()](job) for column in columns] for job in jobs]
    if "parsable2" in options or "parsable" in options:
        end = "|\n" if "parsable" in options else "\n"
        return "".join("|".join(row) + end for row in rows)
    return "".join(" ".join(cell[:10].rjust(10) for cell in row) + " \n" for row in rows)


def elapsed_of(job: state.Job) -> float:
    """Return for how long a job has run."""
    return float((job["end"] or time.time()) - job["start"]) if job["start"] else 0.0


def state_of(job: state.Job) -> str:
    """Return the state as sacct writes it: a cancelled job says by whom."""
    return f"CANCELLED by {job.get('cancelled_by', 0)}" if job["state"] == "CANCELLED" else str(job["state"])


FIELDS: dict[str, Callable[[state.Job], str]] = {
    "jobid": lambda job: str(job["id"]),
    "jobidraw": lambda job: str(job["id"]),
    "jobname": lambda job: job["name"],
    "state": state_of,
    "exitcode": lambda job: job["exit_code"],
    "derivedexitcode": lambda job: job["exit_code"],
    "submit": lambda job: render_time(job["submit"], "Unknown"),
    "eligible": lambda job: render_time(job["submit"], "Unknown"),
    "start": lambda job: render_time(job["start"], "None" if job["end"] else "Unknown"),
    "end": lambda job: render_time(job["end"], "Unknown"),
    "elapsed": lambda job: render_elapsed(elapsed_of(job), full=True),
    "elapsedraw": lambda job: str(int(elapsed_of(job))),
    "timelimit": lambda job: render_elapsed(job["limit_min"] * 60, full=True),
    "timelimitraw": lambda job: str(job["limit_min"]),
    "nodelist": lambda job: job["node"] or "None assigned",
    "reason": lambda job: job["reason"],
    "user": lambda job: job["user"],
    "uid": lambda job: str(job["uid"]),
    "account": lambda job: job["account"] or state.ACCOUNT,
    "partition": lambda job: job["partition"],
    "alloccpus": lambda job: str(job["cpus"]),
    "qos": lambda job: job["qos"] or "normal",
    "comment": lambda job: job["comment"] or "",
    "workdir": lambda job: job["folder"],
}
