"""The argv and the environment of every call to Slurm. Pure; `--option=value` only, so that no value is an option.

The columns asked of squeue and sacct are tuples that agent/slurm/parse.py reads by; free text stands last.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from agent.slurm.request import SubmitRequest
from mltm.contract.ids import JobId

__all__ = [
    "ACCOUNTING_COLUMNS",
    "COLUMN_END",
    "LIST_COLUMNS",
    "LIST_END",
    "build_account_argv",
    "build_cancel_argv",
    "build_describe_argv",
    "build_environment",
    "build_list_argv",
    "build_submit_argv",
]  # fmt: skip

# squeue's letter for each column. Name and reason are free text: a job of this user that is not ours may have any
# name, even with a bar or a line feed. So every job ends with a mark, which also shows that none was cut off. Each call
# has a mark of its own, so that no name holds it. And the header is asked for: without it, an answer that got lost
# would be the same as an empty list.
LIST_COLUMNS = MappingProxyType(
    {
        "job_id": "%i",
        "state": "%T",
        "elapsed": "%M",
        "time_limit": "%l",
        "start": "%S",
        "submit": "%V",
        "node": "%N",
        "reason": "%r",
        "name": "%j",
    }
)
ACCOUNTING_COLUMNS = ("JobID", "State", "ExitCode", "Start", "End", "ElapsedRaw", "NodeList", "Reason", "JobName")
COLUMN_END = "|"
LIST_END = "|end"
# Slurm's clock and this host's may differ, and sacct's window is by Slurm's.
_WINDOW_MARGIN = timedelta(days=1)


def build_environment(
    outer: Mapping[str, str],
    *,
    path: str | None = None,
    conf: Path | None = None,
    keep: Sequence[str] = (),
    is_submission: bool = False,
) -> dict[str, str]:
    """Build the whole environment of a call from the agent's own. What is not named here or by `keep` is left out.

    That removes SBATCH_*, SQUEUE_*, SACCT_FORMAT and SLURM_* (an agent inside a job), which would change options, and
    every token. keep: what the site's sbatch needs, such as KRB5CCNAME or SLURM_JWT; agent/job/launch.py keeps it from
    the task. A submission's environment becomes the job's (sbatch's default --export=ALL is kept, because NONE and
    lists imply --get-user-env, which can end in "requeued and held"): so it has nothing that is for sbatch alone
    (SLURM_EXIT_ERROR would be srun's in the job), no TZ and no LC_ALL, and jobs see the node's time zone. Without
    LC_ALL the texts are English too: LANG is C.UTF-8.
    """
    kept = {name: outer[name] for name in ("HOME", "USER", "LOGNAME") if name in outer}
    search = ":".join(part for part in (path, outer.get("PATH", "/usr/bin:/bin")) if part).split(":")
    # A part that is not absolute would be a folder near the place where the agent, or a job, was started.
    whole = ":".join(part for part in search if part.startswith("/"))
    kept |= {name: outer[name] for name in keep if name in outer}
    environment = {**kept, "PATH": whole or "/usr/bin:/bin", "LANG": "C.UTF-8"}
    chosen = str(conf) if conf else outer.get("SLURM_CONF")
    if chosen:
        environment["SLURM_CONF"] = chosen
    return environment if is_submission else {**environment, "LC_ALL": "C", "TZ": "UTC"}


def build_submit_argv(request: SubmitRequest) -> list[str]:
    """Build sbatch's argv. The script is the constant wrapper; `--ignore-pbs` and `--no-requeue` always.

    --propagate=NONE: by default the limits of the agent's shell (ulimit -n) would be the task's.
    """
    chosen = {
        "job-name": request.job_name,
        "comment": request.comment or request.job_name,
        "chdir": request.chdir,
        "output": _escape_pattern(request.output),
        "open-mode": "append",
        "partition": request.partition,
        "account": request.account,
        "nodes": request.nodes,
        "cpus-per-task": request.cpus,
        "gres": f"gpu:{request.gpus}" if request.gpus else None,
        "mem": request.memory,
        "time": request.time_limit,
        "qos": request.qos,
        "constraint": request.constraint,
        "signal": f"B:USR1@{request.warn_before_end_s}" if request.warn_before_end_s else None,
        "dependency": request.dependency,
        "begin": request.begin,
    }
    options = [f"--{name}={value}" for name, value in chosen.items() if value is not None]
    always = ["--parsable", "--no-requeue", "--ignore-pbs", "--propagate=NONE"]
    return ["sbatch", *always, *options, str(request.script), *request.args]


def _escape_pattern(path: Path) -> str:
    r"""The file name pattern that means this path and, for its last part alone, Slurm's own `%j`.

    A folder with a percent sign would be expanded; sbatch(1) reads `%%` as one.
    """
    return f"{str(path.parent).replace('%', '%%')}/{path.name}"


def build_list_argv(end: str = LIST_END) -> list[str]:
    """Build squeue's argv: one call for every job of this user, in any state that Slurm still knows.

    end: what stands behind each job; the caller adds something random to LIST_END.
    """
    columns = COLUMN_END.join(LIST_COLUMNS.values())
    return ["squeue", "--array", "--me", "--states=all", f"--format={columns}{end}"]


def build_account_argv(job_names: Sequence[str], *, user: str, since: datetime) -> list[str]:
    """Build sacct's argv: jobs of these names. Always with a window, because its default is today."""
    start = (since - _WINDOW_MARGIN).strftime("%Y-%m-%dT%H:%M:%S")
    return [
        "sacct",
        "--parsable2",
        "--allocations",
        f"--user={user}",
        f"--starttime={start}",
        f"--format={','.join(ACCOUNTING_COLUMNS)}",
        f"--name={','.join(job_names)}",
    ]


def build_cancel_argv(job_ids: Sequence[JobId], *, job_name: str | None = None, signal: str | None = None) -> list[str]:
    """Build scancel's argv. With `job_name`, a job of that id under another name is left alone.

    A signal goes to the batch shell, the wrapper, which sends on what is to be sent on.
    """
    guard = [f"--name={job_name}"] if job_name else []
    what = [f"--signal={signal}", "--batch"] if signal else []
    return ["scancel", "--me", *guard, *what, *job_ids]


def build_describe_argv() -> list[str]:
    """Build scontrol's argv for Slurm's own settings."""
    return ["scontrol", "show", "config"]
