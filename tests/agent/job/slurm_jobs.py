"""The wrapper as a job of the lab's Slurm: submitted like the agent does, watched until Slurm says that it ended."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from agent.slurm.commands import build_environment, build_submit_argv
from agent.slurm.request import SubmitRequest
from lab.processes import wait_until
from lab.slurm.layout import Lab
from mltm.contract.ids import render_job_name
from tests.agent.job.running import Prepared
from tests.lab.calls import call

_SHOWN = re.compile(r"JobId=(\d+) .*?JobState=(\w+) .*?Restarts=(\d+) .*?ExitCode=(\d+):(\d+)")
_ENDS = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}


@dataclass(frozen=True)
class Job:
    job_id: str
    task: Prepared


@dataclass(frozen=True)
class End:
    """What Slurm says of a job that ended."""

    state: str
    restarts: int
    code: int


def submit_task(lab: Lab, task: Prepared, *, may_requeue: bool = False, **request: object) -> Job:
    asked = SubmitRequest(
        job_name=render_job_name(task.folder.task_id, 1),
        chdir=task.folder.path,
        output=task.folder.control / "slurm.01.out",
        script=task.script,
        args=task.args,
        **request,  # type: ignore[arg-type]  # fields of SubmitRequest
    )
    argv = build_submit_argv(asked)
    if may_requeue:
        argv = ["--requeue" if item == "--no-requeue" else item for item in argv]
    scrubbed = build_environment(os.environ | lab.env, is_submission=True)
    done = call(lab, "env", "--ignore-environment", *(f"{name}={value}" for name, value in scrubbed.items()), *argv)
    assert done.returncode == 0, done.stderr
    return Job(done.stdout.strip(), task)


def wait_ends(
    lab: Lab, jobs: list[Job], *, timeout_s: float, each_time: Sequence[str] = (), again: str = ""
) -> dict[str, End]:
    """Wait until Slurm has shown an end for each of the jobs; it forgets them after MinJobAge.

    `each_time`: a command before each look. `again`: the job whose end counts only once its second copy has stepped
    aside; the number of its restarts is shown before that copy runs.
    """
    missing, ends = {job.job_id for job in jobs}, dict[str, End]()
    control = next((job.task.folder.control for job in jobs if job.job_id == again), None)

    def have_all_ended() -> bool:
        if each_time:
            call(lab, *each_time)
        has_come_again = control is not None and any(control.glob("dup.*"))  # before Slurm is asked
        shown = call(lab, "scontrol", "--oneliner", "show", "job").stdout
        for job_id, state, restarts, code, _ in _SHOWN.findall(shown):
            if job_id in missing and state in _ENDS and (job_id != again or has_come_again):
                missing.discard(job_id)
                ends[job_id] = End(state, int(restarts), int(code))
        return not missing

    assert wait_until(have_all_ended, timeout_s=timeout_s, pause_s=0.2), f"still there: {missing}"
    return ends
