"""Makes a stand-in and takes it down, sets its faults, and looks inside: what tests and `python -m lab` use."""

import contextlib
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import files, processes
from lab.errors import LabError
from lab.standin import schedule, state
from lab.standin.entry import COMMANDS
from lab.standin.scancel import give_order

_PROGRAM = """{start}
import sys
from pathlib import Path

sys.path.insert(0, {root!r})
from lab.standin.{module} import main

sys.exit(main({arguments}))
"""


@dataclass(frozen=True)
class Standin:
    """A stand-in's folder with everything needed to use it, in the manner of `Lab`."""

    dir: Path

    @property
    def slurm_conf(self) -> Path:
        """A file that is there because clients expect one; the stand-in reads nothing in it."""
        return self.dir / "slurm.conf"

    @property
    def bin_dir(self) -> Path:
        """The folder of the stand-in's sbatch, squeue and so on."""
        return self.dir / "bin"

    @property
    def env(self) -> dict[str, str]:
        """What to add to the environment of whoever uses it; the programs know their folder by themselves."""
        path = f"{self.bin_dir}:{os.environ.get('PATH', os.defpath)}"
        return {"SLURM_CONF": str(self.slurm_conf), "PATH": path}


def up(folder: Path, **settings: object) -> Standin:
    """Make a stand-in (or take the one that is there). `settings`: see `lab.standin.state.DEFAULTS`."""
    if unknown := set(settings) - set(state.DEFAULTS):
        raise LabError(
            f"The stand-in has no setting {', '.join(sorted(unknown))}. It has: {', '.join(state.DEFAULTS)}."
        )
    standin = Standin(folder.resolve())
    for name in ("bin", "jobs", "old", "spool", "pids"):
        (standin.dir / name).mkdir(parents=True, exist_ok=True)
    for command in COMMANDS:
        _write_program(standin.bin_dir / command, "entry", f"{command!r}, Path({str(standin.dir)!r})")
    _write_program(standin.dir / "runner", "runner", f"Path({str(standin.dir)!r})")
    standin.slurm_conf.write_text(
        "# The stand-in for Slurm; it reads nothing here.\nClusterName=lab\n", encoding="ascii"
    )
    change_settings(standin, **{"slots": state.DEFAULTS["slots"]} | settings)  # down leaves no slot
    return standin


def _write_program(path: Path, module: str, arguments: str) -> None:
    # This Python by its own path: a wrapper that chooses one would cost each call a tenth of a second.
    root = str(Path(__file__).resolve().parents[2])
    text = _PROGRAM.format(start=render_start(sys.executable), root=root, module=module, arguments=arguments)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.chmod(0o755)
    fresh.replace(path)


def render_start(python: str) -> str:
    """Return the first lines of a program for this Python; Linux reads no `#!` with spaces or beyond 255 bytes."""
    if " " not in python and len(os.fsencode(python)) < 240:
        return f"#!{python} -IS"
    # To sh this is a command, to Python a string.
    return f"#!/bin/sh\n'''exec' {shlex.quote(python)} -IS \"$0\" \"$@\" # '''"


def down(standin: Standin) -> None:
    """End all runners and what they run. The folder stays."""
    if not (standin.dir / "jobs").is_dir():
        raise LabError(f"There is no stand-in in {standin.dir}.")
    with state.locked(standin.dir):  # nobody starts anything meanwhile, and nothing afterwards
        change_settings(standin, slots=0)
        marks = (os.fsencode(f"STANDIN_COPY={standin.dir}:"), os.fsencode(f"STANDIN_DIR={standin.dir}"))

        def find() -> list[processes.Process]:
            found = processes.find_processes(lambda pid: any(mark in _read_env(pid) for mark in marks))
            return processes.with_descendants(found)

        processes.stop(_list_late(standin), sig=signal.SIGKILL)
        processes.kill_all(find)


def is_at_rest(standin: Standin) -> bool:
    """Tell whether every job has ended, and none is to come from an sbatch that is accepted late."""
    if any(processes.is_running(process) for process in _list_late(standin)):
        return False
    return all(job["end"] is not None for job in list_jobs(standin))


def _list_late(standin: Standin) -> list[processes.Process]:
    return [processes.Process(int(path.name), int(path.read_text())) for path in (standin.dir / "pids").iterdir()]


def _read_env(pid: int) -> bytes:
    return b"\0" + processes.read_proc_file(pid, "environ")


@contextlib.contextmanager
def running_standin(folder: Path | None = None, **settings: object) -> Iterator[Standin]:
    """Keep a stand-in for a `with` block; without a folder it gets a temporary one, which goes with it."""
    chosen = folder or Path(tempfile.mkdtemp(prefix="standin-"))
    standin = up(chosen, **settings)
    try:
        yield standin
    finally:
        down(standin)
        if folder is None:
            shutil.rmtree(chosen, ignore_errors=True)


def change_settings(standin: Standin, **settings: object) -> None:
    """Change settings of a stand-in; jobs that run keep those they began with."""
    files.write_json(standin.dir / "settings.json", state.read_settings(standin.dir) | settings)


def set_faults(standin: Standin, *faults: dict[str, Any], seed: int = 0) -> None:
    """Replace all faults, and forget how often they were met; without arguments there are none.

    A fault is {"command", "mode"} and, as wanted, "count" (uses, default endless), "after" (calls that pass first),
    "probability", "argument" (a pattern: calls with such a word), "seconds", "text", "exit_code", "job_id". Modes of
    every command: error (text, exit_code), hang (seconds). sbatch: accept_and_time_out, accept_late,
    hang_after_accept, forget, reuse_id, noise. squeue: fail, empty, none (a header and no job), cut, garbage. sacct:
    absent, slow, behind. scancel: fail, ignored. scontrol, sinfo: fail. Of the pseudo-command "start": start_twice (a
    second copy under the same id after `seconds`).
    """
    with state.locked(standin.dir):
        (standin.dir / "faults.used.json").unlink(missing_ok=True)
        files.write_json(standin.dir / "faults.json", {"seed": seed, "faults": list(faults)})


def read_calls(standin: Standin, command: str | None = None) -> list[dict[str, Any]]:
    """Return every call so far (at, command, arguments, pid), of one command if it is named."""
    path = standin.dir / "calls.log"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    calls: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [call for call in calls if command in (None, call["command"])]


def list_jobs(standin: Standin, *, old: bool = True) -> list[state.Job]:
    """Return the jobs as they are kept, oldest first; with `old` also those that squeue shows no more."""
    with state.locked(standin.dir):
        schedule.start_what_fits(standin.dir)
        return state.list_jobs(standin.dir, old=old)


def end_job(standin: Standin, job_id: int, outcome: str) -> None:
    """Kill a running job and let it end as NODE_FAIL, PREEMPTED, OUT_OF_MEMORY or any other text."""
    with state.locked(standin.dir):
        give_order(standin.dir, _find(standin, job_id), {"kind": "end", "outcome": outcome, "at_once": True})


def show_job_as(standin: Standin, job_id: int, **fields: object) -> None:
    """Change what Slurm shows of a job (state, reason, name, user, …) without touching its processes.

    A state that is an end needs `end` too (seconds since 1970).
    """
    with state.locked(standin.dir):
        state.write_job(standin.dir, _find(standin, job_id) | fields)


def forget_job(standin: Standin, job_id: int) -> None:
    """Let squeue and scontrol forget a job, running or not; its processes go on."""
    with state.locked(standin.dir):
        state.forget_job(standin.dir, _find(standin, job_id))


def start_again(standin: Standin, job_id: int) -> None:
    """Start a job a second time under the same id, while the first copy runs."""
    with state.locked(standin.dir):
        schedule.start_copy(standin.dir, _find(standin, job_id), wait_s=0)


def _find(standin: Standin, job_id: int) -> state.Job:
    job = state.find_job(standin.dir, job_id)
    if job is None:
        raise LabError(f"The stand-in in {standin.dir} shows no job {job_id}.")
    return job
