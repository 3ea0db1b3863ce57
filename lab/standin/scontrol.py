"""The stand-in's scontrol: ping, show config, show job, hold, release, requeue."""

import sys
import time
from pathlib import Path

from lab.standin import faults, schedule, state
from lab.standin.scancel import give_order
from lab.standin.words import render_elapsed, render_time

UNKNOWN_ID = "slurm_load_jobs error: Invalid job id specified"
UNREACHABLE = "slurm_load_ctl_conf error: Unable to contact slurm controller (connect failure)"


def run(folder: Path, arguments: list[str], fault: faults.Fault) -> int:
    """Answer one of the subcommands that the stand-in knows."""
    if fault["mode"] == "fail":
        faults.fail(fault, UNREACHABLE)
    words = [word for word in arguments if not word.startswith("-")]
    match words:
        case ["ping"]:
            print("Slurmctld(primary) at localhost is UP")
        case ["show", "config"]:
            sys.stdout.write(render_config(folder))
        case ["show", "job" | "jobs", *ids]:
            return show_jobs(folder, ids, one_line="-o" in arguments or "--oneliner" in arguments)
        case ["hold" | "release" | "requeue" as action, *ids] if ids:
            return change_jobs(folder, action, [word for part in ids for word in part.split(",")])
        case _:
            sys.stderr.write(f"invalid keyword: {words[0] if words else ''}\n")
            return faults.exit_code_of_error()
    return 0


def render_config(folder: Path) -> str:
    """Return the lines of `scontrol show config` that a client may ask for."""
    settings = state.read_settings(folder)
    storage = "accounting_storage/" + ("slurmdbd" if settings["accounting"] else "none")
    fields = {
        "AccountingStorageType": storage,
        "ClusterName": "lab",
        "KillWait": f"{int(settings['kill_wait_s'])} sec",
        "MaxArraySize": "1001",
        "MaxJobCount": "10000",
        "MessageTimeout": "10 sec",
        "MinJobAge": f"{int(settings['min_job_age_s'])} sec",
        "SLURM_CONF": str(folder / "slurm.conf"),
        "SLURM_VERSION": state.VERSION,
    }
    moment = render_time(time.time(), "")
    lines = [f"Configuration data as of {moment}", *(f"{name:23} = {value}" for name, value in fields.items())]
    return "\n".join(lines) + "\n\nSlurmctld(primary) at localhost is UP\n"


def show_jobs(folder: Path, ids: list[str], *, one_line: bool) -> int:
    """Print one job or all."""
    with state.locked(folder):
        schedule.start_what_fits(folder)
        jobs = state.list_jobs(folder)
    wanted = [job for job in jobs if not ids or str(job["id"]) in ids]
    if ids and not wanted:
        sys.stderr.write(UNKNOWN_ID + "\n")
        return faults.exit_code_of_error()
    for job in wanted:
        text = render_job(job)
        print(" ".join(text.split()) if one_line else text + "\n")
    return 0


def render_job(job: state.Job) -> str:
    """Return the lines of `scontrol show job` that a client may ask for."""
    elapsed = (job["end"] or time.time()) - job["start"] if job["start"] else 0
    return f"""\
JobId={job["id"]} JobName={job["name"]}
   UserId={job["user"]}({job["uid"]}) GroupId={job["user"]}({job["uid"]}) MCS_label=N/A
   Priority=1 Nice=0 Account={job["account"] or "(null)"} QOS={job["qos"] or "(null)"}
   JobState={job["state"]} Reason={job["reason"]} Dependency={job["dependency"] or "(null)"}
   Requeue={int(job["can_requeue"])} Restarts={job["restarts"]} BatchFlag=1 Reboot=0 ExitCode={job["exit_code"]}
   RunTime={render_elapsed(elapsed, full=True)} TimeLimit={render_elapsed(job["limit_min"] * 60)} TimeMin=N/A
   SubmitTime={render_time(job["submit"], "Unknown")} EligibleTime={render_time(job["submit"], "Unknown")}
   StartTime={render_time(job["start"], "Unknown")} EndTime={render_time(job["end"], "Unknown")} Deadline=N/A
   Partition={job["partition"]} AllocNode:Sid=localhost:1
   NodeList={job["node"]}
   NumNodes={job["nodes"]} NumCPUs={job["cpus"]} NumTasks=1 CPUs/Task={job["cpus"]}
   WorkDir={job["folder"]}
   StdOut={job["output"]}"""


def change_jobs(folder: Path, action: str, ids: list[str]) -> int:
    """Hold, release or requeue jobs."""
    code = 0
    with state.locked(folder):
        for word in ids:
            job = state.find_job(folder, int(word)) if word.isdigit() else None
            problem = "Invalid job id specified" if job is None else _change(folder, job, action)
            if problem:
                sys.stderr.write(f"{problem} for job {word}\n")
                code = faults.exit_code_of_error()
        schedule.start_what_fits(folder)
    return code


def _change(folder: Path, job: state.Job, action: str) -> str:
    """Do it, or return in Slurm's words why not."""
    if action == "requeue" and not job["can_requeue"]:
        return "Requested operation is presently disabled"
    if action == "requeue":
        if job["state"] == "RUNNING":
            give_order(folder, job, {"kind": "end", "outcome": "REQUEUE", "at_once": True})
        return ""
    if job["state"] != "PENDING":
        return "Job is no longer pending execution"
    state.write_job(folder, job | {"hold": action == "hold"})
    return ""
