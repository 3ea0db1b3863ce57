"""The stand-in's scancel."""

import os
import signal
import sys
import time
from pathlib import Path

from lab.standin import faults, schedule, state
from lab.standin.options import parse_options

SHORT = "n:u:s:bfQvt:p:A:"
LONG = {
    "name=": "n", "user=": "u", "me": "", "signal=": "s", "batch": "b", "full": "f", "quiet": "Q", "verbose": "v",
    "state=": "t", "partition=": "p", "account=": "A",
}  # fmt: skip
UNREACHABLE = "scancel: error: slurm_load_jobs error: Unable to contact slurm controller (connect failure)"


def run(folder: Path, arguments: list[str], fault: faults.Fault) -> int:
    """Cancel or signal jobs. Unknown ids and ended jobs are no error, as with Slurm."""
    options, words = parse_options("scancel", arguments, SHORT, LONG, anywhere=True)
    ids = [word for words_at in words for word in words_at.split(",")]
    if fault["mode"] == "fail":
        faults.fail(fault, UNREACHABLE)
    if fault["mode"] == "ignored":
        return 0
    if bad := [word for word in ids if not word.isdigit()]:
        sys.stderr.write(f"scancel: error: Invalid job id {bad[0]}\n")
        return faults.exit_code_of_error()
    if not ids and not {"name", "user", "me", "state", "partition", "account"} & set(options):
        sys.stderr.write("scancel: error: No job identification provided\n")
        return faults.exit_code_of_error()
    with state.locked(folder):
        for job in state.list_jobs(folder):
            if state.is_active(job) and is_wanted(job, options, ids):
                cancel(folder, job, options)
        schedule.start_what_fits(folder)
    return 0


def is_wanted(job: state.Job, options: dict[str, str], ids: list[str]) -> bool:
    """Tell whether the filters let a job through."""
    return (
        (not ids or str(job["id"]) in ids)
        and ("name" not in options or job["name"] in options["name"].split(","))
        and ("user" not in options or job["user"] == options["user"])
        and ("me" not in options or job["uid"] == os.getuid())
        and ("state" not in options or job["state"] == options["state"].upper())
        and ("partition" not in options or job["partition"] == options["partition"])
        and ("account" not in options or job["account"] == options["account"])
    )


def cancel(folder: Path, job: state.Job, options: dict[str, str]) -> None:
    """End one job, or hand it a signal."""
    if "signal" in options:
        number = parse_signal(options["signal"])
        if job["state"] == "RUNNING" and number:
            give_order(folder, job, {"kind": "signal", "signal": number, "shell_only": "batch" in options})
        return
    job["cancelled_by"] = os.getuid()
    if job["state"] == "RUNNING":
        give_order(folder, job, {"kind": "end", "outcome": "CANCELLED"})
    else:
        state.write_job(folder, job | {"state": "CANCELLED", "end": time.time()})


def give_order(folder: Path, job: state.Job, order: dict[str, object]) -> None:
    """Leave an order for every copy of a job, and wake them. Call it under the lock."""
    orders = job.setdefault("orders", {})
    for number in job["copies"]:
        orders.setdefault(number, []).append(order)
    state.write_job(folder, job)
    schedule.wake_runners(job)


def parse_signal(text: str) -> int:
    """Read USR1, SIGUSR1 or 10. 0 if it is not a signal."""
    if text.isdigit():
        return int(text)
    name = text.upper().removeprefix("SIG")
    return int(getattr(signal, f"SIG{name}", 0))
