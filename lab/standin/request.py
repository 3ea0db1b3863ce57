"""Turns sbatch's options into a job, or refuses them with the texts of Slurm 22.05.8 (captured from the lab)."""

import os
import pwd
import socket
import time
from pathlib import Path

from lab.standin import state
from lab.standin.words import parse_megabytes, parse_minutes, parse_moment

FAILED = "Batch job submission failed: "
NOT_AVAILABLE = FAILED + "Requested node configuration is not available"


class RefusedError(Exception):
    """A request that is not accepted: the lines sbatch prints, and its exit code (0: the usual one)."""

    def __init__(self, *lines: str, exit_code: int = 0) -> None:
        super().__init__(*lines)
        self.lines = lines
        self.exit_code = exit_code


def build_job(options: dict[str, str], name: str, arguments: list[str], folder: Path) -> state.Job:
    """Return the job that `options` ask for, without an id; raise RefusedError."""
    now = time.time()
    name = options.get("job-name", name)
    partition = options.get("partition", "cpu")
    job: state.Job = {
        "name": name,
        "user": read_user_name(os.getuid()),
        "uid": os.getuid(),
        "state": "PENDING",
        "reason": "None",
        "exit_code": "0:0",
        "submit": now,
        "start": None,
        "end": None,
        "partition": partition,
        "account": options.get("account"),
        "qos": options.get("qos"),
        "comment": options.get("comment"),
        "nodes": read_count(options.get("nodes", "1").split("-")[0], "nodes"),
        "cpus": read_count(options.get("cpus-per-task", "1"), "cpus-per-task") * int(options.get("ntasks", "1")),
        "limit_min": read_limit(options.get("time")),
        "warning": read_signal(options.get("signal")),
        "hold": "hold" in options,
        "begin": parse_moment(options["begin"], now) if "begin" in options else None,
        "dependency": options.get("dependency"),
        "can_requeue": "no-requeue" not in options,
        "folder": str(Path(options.get("chdir", Path.cwd())).absolute()),
        "output": options.get("output", "slurm-%j.out"),
        "error": options.get("error"),
        "append": options.get("open-mode") == "append",
        "arguments": arguments,
        "env": choose_env(options.get("export", "ALL")),
        "submit_host": socket.gethostname(),
        "node": "",
        "restarts": 0,
        "copies": {},
    }
    check_job(job, options, state.read_settings(folder))
    return job


def read_user_name(uid: int) -> str:
    """Return the name of a Unix user, or the number if it has no name, as Slurm shows it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def check_job(job: state.Job, options: dict[str, str], settings: dict[str, object]) -> None:
    """Refuse what the lab's Slurm would refuse."""
    if job["partition"] not in state.PARTITIONS:
        named = f"invalid partition specified: {job['partition']}"
        raise RefusedError(named, FAILED + "Invalid partition name specified")
    nodes = state.PARTITIONS[job["partition"]]
    memory_mb = parse_megabytes(options.get("mem", "0")) or 0
    gpus = read_gpus(options)
    bad_account = settings["accounting"] and job["account"] not in (None, state.ACCOUNT)
    bad_qos = settings["accounting"] and job["qos"] not in (None, "normal")
    for is_wrong, lines in (
        (bad_account, [FAILED + "Invalid account or account/partition combination specified"]),
        (bad_qos, [FAILED + "Invalid qos specification"]),
        ("array" in options, [FAILED + "Invalid job array specification"]),  # the stand-in has no arrays
        ("constraint" in options, [FAILED + "Invalid feature specification"]),
        (not is_known_dependency(job["dependency"]), [FAILED + "Job dependency problem"]),
        (memory_mb > state.MEMORY_MB, ["Memory specification can not be satisfied", NOT_AVAILABLE]),
        # What is beyond the partition waits (lab/standin/schedule.py); what only its nodes cannot do is refused.
        (job["nodes"] * state.CPUS_PER_NODE < job["cpus"] <= len(nodes) * state.CPUS_PER_NODE, [NOT_AVAILABLE]),
        (gpus > 2, [NOT_AVAILABLE]),
    ):
        if is_wrong:
            raise RefusedError(*lines)


def read_gpus(options: dict[str, str]) -> int:
    """Return how many GPUs are asked for, by --gpus or --gres."""
    last = (options.get("gpus") or options.get("gpus-per-node") or options.get("gres", "0")).rpartition(":")[2]
    return int(last) if last.isdigit() else 1


def read_count(text: str, option: str) -> int:
    """Read a number above zero."""
    if not text.isdigit() or int(text) == 0:
        raise RefusedError(f'Invalid numeric value "{text}" for --{option}.', exit_code=255)
    return int(text)


def read_limit(text: str | None) -> int:
    """Return the time limit in minutes; without one it is the partition's."""
    if text is None:
        return state.MAX_TIME_MIN
    minutes = parse_minutes(text)
    if minutes is None:
        raise RefusedError("Invalid --time specification", exit_code=255)
    return minutes or state.MAX_TIME_MIN


def read_signal(text: str | None) -> dict[str, object] | None:
    """Read --signal=[B:]NAME[@SECONDS]."""
    if text is None:
        return None
    shell_only, _, rest = text.rpartition(":")
    name, _, seconds = rest.partition("@")
    return {"name": name, "before_s": int(seconds or 60), "shell_only": "B" in shell_only}


def is_known_dependency(text: str | None) -> bool:
    """Tell whether the stand-in can wait for this: `singleton`, or `afterany:` with ids."""
    return text is None or text == "singleton" or (text.startswith("afterany:") and text[9:].replace(":", "").isdigit())


def choose_env(export: str) -> dict[str, str]:
    """Return what the job takes from sbatch's environment."""
    words = export.split(",")
    chosen = dict(os.environ) if "ALL" in words else {"PATH": "/usr/bin:/bin", "HOME": os.path.expanduser("~")}  # noqa: PTH111
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            chosen[name] = value
        elif name in os.environ:
            chosen[name] = os.environ[name]
    return chosen
