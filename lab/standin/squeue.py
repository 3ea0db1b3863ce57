"""The stand-in's squeue."""

import os
import sys
import time
from pathlib import Path

from lab.standin import faults, schedule, state
from lab.standin.options import parse_options
from lab.standin.words import SHORT_STATES, fill_format, render_elapsed, render_time

SHORT = "hro:t:j:n:u:p:A:S:aw:"
LONG = {
    "noheader": "h", "array": "r", "format=": "o", "states=": "t", "jobs=": "j", "name=": "n", "user=": "u",
    "me": "", "partition=": "p", "account=": "A", "sort=": "S", "all": "a", "nodelist=": "w", "start": "",
}  # fmt: skip
FORMAT = "%.18i %.9P %.8j %.8u %.2t %.10M %.6D %R"
HEADERS = {
    "i": "JOBID", "P": "PARTITION", "j": "NAME", "u": "USER", "t": "ST", "T": "STATE", "M": "TIME", "D": "NODES",
    "R": "NODELIST(REASON)", "r": "REASON", "N": "NODELIST", "l": "TIME_LIMIT", "L": "TIME_LEFT", "U": "UID",
    "a": "ACCOUNT", "S": "START_TIME", "V": "SUBMIT_TIME", "e": "END_TIME", "C": "CPUS", "A": "JOBID",
    "F": "ARRAY_JOB_ID", "K": "ARRAY_TASK_ID", "k": "COMMENT", "q": "QOS", "Z": "WORK_DIR", "E": "DEPENDENCY",
}  # fmt: skip
UNREACHABLE = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
UNKNOWN_ID = "slurm_load_jobs error: Invalid job id specified"
GARBAGE = "\x00\x07slurmctld: \ufffd\ufffd|||\n%i|%T|\n<html>Bad gateway</html>\n"


def run(folder: Path, arguments: list[str], fault: faults.Fault) -> int:
    """List jobs; meet the faults of a list."""
    options, _ = parse_options("squeue", arguments, SHORT, LONG)
    match fault["mode"]:
        case "fail":
            faults.fail(fault, UNREACHABLE)
        case "empty":
            return 0
        case "garbage":
            sys.stdout.write(fault.get("text", GARBAGE))
            return 0
        case _:
            pass
    with state.locked(folder):
        schedule.start_what_fits(folder)
        jobs = state.list_jobs(folder)
    wanted = options.get("jobs", "").split(",") if "jobs" in options else []
    if bad := [word for word in wanted if not word.isdigit()]:
        sys.stderr.write(f"squeue: error: Invalid job id: {bad[0]}\n")
        return 1
    # One unknown id is an error, several are not: squeue asks for all jobs then.
    if len(wanted) == 1 and not any(str(job["id"]) == wanted[0] for job in jobs):
        sys.stderr.write(UNKNOWN_ID + "\n")
        return faults.exit_code_of_error()
    if fault["mode"] == "none":
        jobs = []  # well-formed, with a header, and wrong
    text = render([job for job in jobs if is_wanted(job, options, wanted)], options)
    sys.stdout.write(text[: len(text) * 2 // 3 - 1] if fault["mode"] == "cut" and text else text)
    return 0


def is_wanted(job: state.Job, options: dict[str, str], ids: list[str]) -> bool:
    """Tell whether the filters let a job through. Names are compared without case, as squeue does."""
    states = options.get("states", "").upper().split(",")
    if "states" not in options:
        in_state = state.is_active(job)
    else:
        in_state = "ALL" in states or job["state"] in states or SHORT_STATES.get(job["state"]) in states
    names = options.get("name", "").lower().split(",")
    users = options.get("user", "").split(",")
    return (
        in_state
        and (not ids or str(job["id"]) in ids)
        and ("name" not in options or job["name"].lower() in names)
        and ("user" not in options or job["user"] in users or str(job["uid"]) in users)
        and ("me" not in options or job["uid"] == os.getuid())
        and ("partition" not in options or job["partition"] in options["partition"].split(","))
        and ("account" not in options or job["account"] in options["account"].split(","))
    )


def render(jobs: list[state.Job], options: dict[str, str]) -> str:
    """Return squeue's text for these jobs."""
    pattern = options.get("format", os.environ.get("SQUEUE_FORMAT", FORMAT))
    lines = [] if "noheader" in options else [fill_format(pattern, HEADERS)]
    lines += [fill_format(pattern, describe(job)) for job in jobs]
    return "".join(line + "\n" for line in lines)


def describe(job: state.Job) -> dict[str, str]:
    """Return the columns of a job by squeue's letters."""
    elapsed = (job["end"] or time.time()) - job["start"] if job["start"] else 0
    limit = job["limit_min"] * 60
    reason = job["reason"]
    waits = job["state"] == "PENDING"
    shown_reason = f"({reason})" if waits or not job["node"] or job["state"] in ("FAILED", "TIMEOUT") else job["node"]
    end = job["end"] or (job["start"] + limit if job["start"] else None)
    return {
        "i": str(job["id"]), "A": str(job["id"]), "F": str(job["id"]), "K": "N/A",
        "T": job["state"], "t": SHORT_STATES.get(job["state"], job["state"][:2]),
        "r": reason, "R": shown_reason, "j": job["name"], "N": job["node"], "B": job["node"] or "n/a",
        "M": render_elapsed(elapsed), "l": render_elapsed(limit), "L": render_elapsed(limit - elapsed),
        "u": job["user"], "U": str(job["uid"]), "a": job["account"] or "(null)", "P": job["partition"],
        "S": render_time(job["start"] or job["begin"], "N/A"), "V": render_time(job["submit"], "N/A"),
        "e": render_time(end, "N/A"), "D": str(job["nodes"]), "C": str(job["cpus"]),
        "k": job["comment"] or "(null)", "q": job["qos"] or "(null)", "Z": job["folder"],
        "E": f"{job['dependency']}(unfulfilled)" if job["dependency"] and waits else "(null)",
    }  # fmt: skip
