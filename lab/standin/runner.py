"""Runs one copy of one job: starts its script, passes on signals, keeps the time limit, and writes how it ended."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from lab import files, processes
from lab.standin import schedule, state

AWAITED = (signal.SIGCHLD, signal.SIGUSR1)


class Copy:
    """A running copy: what was ordered, and when something is due."""

    def __init__(self, folder: Path, job: state.Job, number: str) -> None:
        self.folder, self.job, self.number = folder, job, number
        self.settings = state.read_settings(folder)
        self.mark = f"STANDIN_COPY={folder}:{job['key']}:{number}"
        self.child = 0
        self.outcome = ""
        self.kill_at: float | None = None
        now = time.time()
        self.limit_at: float | None = now + job["limit_min"] * self.settings["minute_s"]
        warning = job["warning"]
        scale = self.settings["minute_s"] / 60
        self.warn_at = self.limit_at - warning["before_s"] * scale if warning else None

    def members(self) -> list[processes.Process]:
        """Return every process of this copy: by its mark, and their descendants."""
        mark = os.fsencode(self.mark)
        own = processes.find_processes(
            lambda pid: pid == self.child or mark in processes.read_proc_file(pid, "environ").split(b"\0")
        )
        return processes.with_descendants(own)

    def send(self, sig: int, *, shell_only: bool = False) -> None:
        """Send a signal to the whole copy, or to its batch shell alone."""
        for pid in [self.child] if shell_only else [process.pid for process in self.members()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sig)

    def begin_end(self, outcome: str) -> None:
        """Ask everything to end, and remember when to make it."""
        if not self.outcome:
            self.outcome = outcome
            self.kill_at = time.time() + self.settings["kill_wait_s"]
            self.limit_at = None
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)

    def obey(self) -> None:
        """Carry out the orders in the job's file that this copy has not carried out yet."""
        with state.locked(self.folder):
            job = state.read_job(self.folder, self.job["key"]) or self.job
            orders = job.get("orders", {}).pop(self.number, [])
            state.write_job(self.folder, job) if orders else None
        for order in orders:
            if order["kind"] == "end":
                self.begin_end(order["outcome"])
                if order.get("at_once"):
                    self.kill_at = time.time()
            else:
                self.send(order["signal"], shell_only=order["shell_only"])

    def do_what_is_due(self) -> None:
        """Send the warning, the TERM at the limit, and the KILL after it."""
        now = time.time()
        if self.warn_at is not None and now >= self.warn_at:
            self.warn_at = None
            warning = self.job["warning"]
            self.send(signal.Signals[f"SIG{warning['name']}"], shell_only=warning["shell_only"])
        if self.limit_at is not None and now >= self.limit_at:
            self.begin_end("TIMEOUT")
        if self.kill_at is not None and now >= self.kill_at:
            self.kill_at = now + 1
            self.send(signal.SIGKILL)

    def wait(self) -> int:
        """Wait for the script and do what is due meanwhile; return its wait status."""
        while True:
            self.obey()
            self.do_what_is_due()
            pid, status = os.waitpid(self.child, os.WNOHANG)
            if pid:
                return status
            due = [at for at in (self.warn_at, self.limit_at, self.kill_at) if at is not None]
            signal.sigtimedwait(AWAITED, max(0.0, min(due, default=time.time() + 3600) - time.time()))


def main(folder: Path) -> int:
    """Run the copy named in argv: key, number, seconds to wait first."""
    key, number, wait_s = sys.argv[1:4]
    time.sleep(float(wait_s))
    with state.locked(folder):  # whoever started us has not written the job before it lets go
        job = state.read_job(folder, key)
    if job is None:
        return 1
    copy = Copy(folder, job, number)
    copy.child = start_script(folder, job, copy.mark)
    status = copy.wait()
    copy.send(signal.SIGKILL)  # what the script left behind
    with state.locked(folder):
        finish(copy, status)
        schedule.start_what_fits(folder)
    return 0


def finish(copy: Copy, status: int) -> None:
    """Write how the job ended, unless another copy has done so."""
    job = state.read_job(copy.folder, copy.job["key"])
    if job is None or job["state"] != "RUNNING":
        return
    if copy.outcome == "REQUEUE":
        job |= {"state": "PENDING", "start": None, "restarts": job["restarts"] + 1, "node": "", "copies": {}}
    else:
        killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0
        result = copy.outcome or ("FAILED" if killed or code else "COMPLETED")
        reasons = {"FAILED": "NonZeroExitCode", "TIMEOUT": "TimeLimit", "NODE_FAIL": "NodeDown"}
        shown = f"{code}:{killed}" if not copy.outcome else {"TIMEOUT": "0:0", "CANCELLED": "0:15"}.get(result, "0:0")
        job |= {"state": result, "reason": reasons.get(result, "None"), "exit_code": shown, "end": time.time()}
    if (copy.folder / "old" / f"{job['key']}.json").exists():
        files.write_json(copy.folder / "old" / f"{job['key']}.json", job)  # forgotten while it ran
    else:
        state.write_job(copy.folder, job)


def start_script(folder: Path, job: state.Job, mark: str) -> int:
    """Start the job's script in a session of its own; return its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            _become_script(folder, job, mark)
        finally:
            os._exit(1)
    return pid


def _become_script(folder: Path, job: state.Job, mark: str) -> None:
    os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, AWAITED)
    try:
        os.chdir(job["folder"])
    except OSError:  # Slurm goes on in /tmp as well
        os.chdir("/tmp")  # noqa: S108 - the very folder that Slurm takes
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if job["append"] else os.O_TRUNC)
    output = os.open(fill_pattern(job["output"], job), flags, 0o666)
    error = os.open(fill_pattern(job["error"], job), flags, 0o666) if job["error"] else output
    os.dup2(output, 1)
    os.dup2(error, 2)
    script = str(folder / "spool" / job["key"] / "slurm_script")
    os.execve(script, [script, *job["arguments"]], render_env(folder, job, mark))  # noqa: S606


def fill_pattern(pattern: str, job: state.Job) -> str:
    """Fill %j, %x, %u, %N and %% in an output's name."""
    values = {"j": str(job["id"]), "x": job["name"], "u": job["user"], "N": job["node"], "%": "%", "A": str(job["id"])}
    parts, rest = [], pattern
    while "%" in rest:
        before, _, rest = rest.partition("%")
        parts += [before, values.get(rest[:1], "%" + rest[:1])]
        rest = rest[1:]
    return "".join(parts) + rest


def render_env(folder: Path, job: state.Job, mark: str) -> Mapping[str, str]:
    """Return the environment of the script, with the variables that Slurm sets."""
    name, _, value = mark.partition("=")
    number = str(job["id"])
    own = {
        "SLURM_JOB_ID": number,
        "SLURM_JOBID": number,
        "SLURM_JOB_NAME": job["name"],
        "SLURM_JOB_USER": job["user"],
        "SLURM_JOB_UID": str(job["uid"]),
        "SLURM_JOB_PARTITION": job["partition"],
        "SLURM_JOB_ACCOUNT": job["account"] or "",
        "SLURM_JOB_NODELIST": job["node"],
        "SLURM_NODELIST": job["node"],
        "SLURM_JOB_NUM_NODES": str(job["nodes"]),
        "SLURM_NNODES": str(job["nodes"]),
        "SLURM_CPUS_ON_NODE": str(job["cpus"]),
        "SLURM_JOB_CPUS_PER_NODE": str(job["cpus"]),
        "SLURM_CLUSTER_NAME": "lab",
        "SLURM_CONF": str(folder / "slurm.conf"),
        "SLURM_SUBMIT_DIR": job["folder"],
        "SLURM_SUBMIT_HOST": job["submit_host"],
        "SLURM_PROCID": "0",
        "SLURM_NODEID": "0",
        "SLURM_LOCALID": "0",
        "SLURMD_NODENAME": job["node"],
        "ENVIRONMENT": "BATCH",
        "HOSTNAME": job["node"],
        "STANDIN_DIR": str(folder),
        name: value,
    }
    if job["restarts"]:
        own["SLURM_RESTART_COUNT"] = str(job["restarts"])  # Slurm sets it only then
    inherited = {
        key: value for key, value in job["env"].items() if not key.startswith(("SLURM_RESTART", "SLURM_ARRAY"))
    }
    return {**inherited, **own}
