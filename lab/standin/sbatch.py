"""The stand-in's sbatch: checks a request as the lab's Slurm does, keeps the job, and tells its id."""

import os
import shlex
import sys
import time
from pathlib import Path
from typing import NoReturn

from lab.standin import faults, request, schedule, state
from lab.standin.options import parse_options

SHORT = "J:o:e:p:A:N:n:c:t:D:Hd:b:q:C:G:a:QW"
LONG = {
    "job-name=": "J", "output=": "o", "error=": "e", "partition=": "p", "account=": "A", "nodes=": "N",
    "ntasks=": "n", "cpus-per-task=": "c", "time=": "t", "chdir=": "D", "hold": "H", "dependency=": "d",
    "begin=": "b", "qos=": "q", "constraint=": "C", "gpus=": "G", "array=": "a", "quiet": "Q", "wait": "W",
    "mem=": "", "mem-per-cpu=": "", "gres=": "", "signal=": "", "comment=": "", "open-mode=": "", "wrap=": "",
    "parsable": "", "requeue": "", "no-requeue": "", "ignore-pbs": "", "propagate=": "", "export=": "",
    "ntasks-per-node=": "", "gpus-per-node=": "", "exclusive": "", "licenses=": "L", "mail-type=": "", "mail-user=": "",
    "nodelist=": "",
}  # fmt: skip
TIMED_OUT = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
NOISE = "sbatch: error: Slurm job queue full, sleeping and retrying\nsbatch: Warning: the moon is full"


def run(folder: Path, arguments: list[str], fault: faults.Fault) -> int:
    """Submit a job; meet the faults that belong to submitting."""
    options, words = parse_options("sbatch", arguments, SHORT, LONG)
    script, name = read_script(options, words)
    in_script, _ = parse_options("sbatch", read_directives(script), SHORT, LONG)
    options = {**in_script, **options}
    try:
        job = request.build_job(options, name, words[1:], folder)
    except request.RefusedError as refusal:
        sys.stderr.write("".join(f"sbatch: error: {line}\n" for line in refusal.lines))
        return refusal.exit_code or faults.exit_code_of_error()
    return answer(submit(folder, job, script, fault), options, fault)


def submit(folder: Path, job: state.Job, script: str, fault: faults.Fault) -> int:
    """Keep the job as the fault says, and return the id to be printed."""
    if fault["mode"] == "accept_late":
        return accept_late(folder, job, script, fault)
    with state.locked(folder):
        number = state.take_number(folder)
        job["id"] = choose_used_id(folder, fault) or number if fault["mode"] == "reuse_id" else number
        job["key"] = f"{state.take_number(folder, 'next_key'):08}"
        if fault["mode"] == "forget":
            return number
        spool = folder / "spool" / job["key"]
        spool.mkdir(parents=True)
        (spool / "slurm_script").write_text(script, encoding="utf-8", errors="surrogateescape")
        (spool / "slurm_script").chmod(0o700)
        state.write_job(folder, job)
        schedule.start_what_fits(folder)
    return int(job["id"])


def choose_used_id(folder: Path, fault: faults.Fault) -> int | None:
    """Choose an id that was given before, and let its first owner be forgotten, as after a crash of slurmctld."""
    known = [job for job in state.list_jobs(folder) if job["id"] == fault.get("job_id", job["id"])]
    if not known:
        return fault.get("job_id")
    state.forget_job(folder, known[-1])
    return int(known[-1]["id"])


def accept_late(folder: Path, job: state.Job, script: str, fault: faults.Fault) -> int:
    """Let a process of its own hand in the job some time after sbatch has given up."""
    if os.fork() == 0:
        os.setsid()
        quiet = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):  # whoever waits for sbatch's output must not wait for this one
            os.dup2(quiet, number)
        schedule.note_process(folder, os.getpid())
        time.sleep(float(fault.get("seconds", 1)))
        submit(folder, job | {"submit": time.time()}, script, {"mode": ""})
        os._exit(0)
    return 0


def answer(job_id: int, options: dict[str, str], fault: faults.Fault) -> int:
    """Print what sbatch prints."""
    if fault["mode"] == "hang_after_accept":
        faults.hang(fault)
    if fault["mode"] in ("accept_and_time_out", "accept_late"):
        faults.fail(fault, TIMED_OUT)
    if fault["mode"] == "noise":
        sys.stderr.write(fault.get("text", NOISE) + "\n")
    print(job_id if "parsable" in options else f"Submitted batch job {job_id}")
    return 0


def read_script(options: dict[str, str], words: list[str]) -> tuple[str, str]:
    """Return the script's text and the name a job gets from it."""
    if "wrap" in options:
        return f"#!/bin/sh\n# This script was created by sbatch --wrap.\n\n{options['wrap']}\n", "wrap"
    if not words:
        return check_script(sys.stdin.read()), "sbatch"
    try:
        text = Path(words[0]).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        refuse(f"Unable to open file {words[0]}")
    return check_script(text), Path(words[0]).name


def check_script(text: str) -> str:
    """Return the script, or refuse it in sbatch's words."""
    if not text:
        refuse("Batch script is empty!")
    if not text.startswith("#!"):
        refuse(
            "This does not look like a batch script.  The first",
            "line must start with #! followed by the path to an interpreter.",
            "For instance: #!/bin/sh",
        )
    return text


def refuse(*lines: str) -> NoReturn:
    """End as sbatch does when it does not even ask slurmctld."""
    sys.stderr.write("".join(f"sbatch: error: {line}\n" for line in lines))
    sys.exit(faults.exit_code_of_error())


def read_directives(script: str) -> list[str]:
    """Return the options in the script's #SBATCH lines, which end at the first command."""
    found: list[str] = []
    for line in script.splitlines():
        if line.startswith("#SBATCH"):
            found += shlex.split(line[len("#SBATCH") :], comments=True)
        elif line.strip() and not line.startswith("#"):
            break
    return found
