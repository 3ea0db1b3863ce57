"""Starts a lab's daemons, keeps their pids in `pids.json`, and ends them: only those, by pid and start time."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lab.errors import LabError
from lab.files import write_json

_MAX_ROUNDS = 20


class Process(NamedTuple):
    """A process that cannot be mistaken for a later one with the same pid. `started` is in clock ticks since boot."""

    pid: int
    started: int


def read_process(pid: int) -> Process | None:
    """Return the living process with this pid; None when it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before may hold spaces
    return None if fields[0] in "ZX" else Process(pid, int(fields[19]))


def is_running(process: Process) -> bool:
    """Tell whether exactly this process still runs."""
    with contextlib.suppress(OSError):
        os.waitpid(process.pid, os.WNOHANG)  # if it is our child and over, let it go
    return read_process(process.pid) == process


def spawn_daemon(argv: Sequence[str], *, env: Mapping[str, str], log: Path, folder: Path) -> Process:
    """Start a program in a session of its own, in `folder`, with its output in `log`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    # posix_spawn, not Popen: a daemon outlives the object, and Popen would complain about that.
    # It knows no working folder; env(1) does, and becomes the program under the same pid.
    wrapped = ["env", f"--chdir={folder}", "--", *argv]
    pid = os.posix_spawnp(wrapped[0], wrapped, env, file_actions=actions, setsid=True)
    process = read_process(pid)
    if process is None:
        raise LabError(f"{argv[0]} ended as soon as it was started. Its output is in {log}.")
    return process


def wait_until(condition: Callable[[], object], *, timeout_s: float, pause_s: float = 0.03) -> bool:
    """Look at `condition` until it is true or the time is over; tell which."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause_s)
    return True


def send(processes: Sequence[Process], sig: int) -> list[Process]:
    """Send a signal to those that still run, and return them."""
    left = [process for process in processes if is_running(process)]
    for process in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, sig)
    return left


def stop(processes: Sequence[Process], *, sig: int = signal.SIGTERM, timeout_s: float = 10) -> None:
    """Ask processes to end, then make them, and return when all are gone."""
    for each, patience_s in ((sig, timeout_s), (signal.SIGKILL, 5.0)):
        left = send(processes, each)
        if wait_until(lambda left=left: not any(map(is_running, left)), timeout_s=patience_s):  # type: ignore[misc]
            return
    raise LabError(f"Processes {[process.pid for process in processes if is_running(process)]} do not end.")


def kill_all(find: Callable[[], Sequence[Process]]) -> None:
    """Kill what is found until nothing is: what it started between the look and the kill is found by the next one."""
    for _ in range(_MAX_ROUNDS):
        if not (found := find()):
            return
        stop(found, sig=signal.SIGKILL)
    raise LabError(f"New processes start faster than they are killed: {[process.pid for process in find()]}.")


def find_processes(is_wanted: Callable[[int], bool]) -> list[Process]:
    """Return the living processes that `is_wanted` says yes to, this one excepted."""
    found = [read_process(pid) for pid in _list_pids() if pid != os.getpid() and is_wanted(pid)]
    return [process for process in found if process is not None]


def find_by_variables(marks: Mapping[str, str]) -> list[Process]:
    """Return the living processes that have all of these variables in their environment."""
    items = {os.fsencode(f"{name}={value}") for name, value in marks.items()}
    return find_processes(lambda pid: items <= set(read_proc_file(pid, "environ").split(b"\0")))


def _list_pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def with_descendants(roots: list[Process]) -> list[Process]:
    """Return processes together with their children, and theirs."""
    parents = {pid: _read_parent(pid) for pid in _list_pids()}
    wanted = {process.pid for process in roots}
    while grown := {pid for pid, parent in parents.items() if parent in wanted} - wanted - {os.getpid()}:
        wanted |= grown
    found = [read_process(pid) for pid in wanted]
    return [process for process in found if process is not None]


def _read_parent(pid: int) -> int:
    fields = read_proc_file(pid, "stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields else 0


def read_working_folder(pid: int) -> bytes:
    """Return the folder that a process stands in, or nothing if that cannot be read."""
    try:
        return os.fsencode(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return b""


def read_proc_file(pid: int, name: str) -> bytes:
    """Return a file of /proc/<pid>, or nothing if it cannot be read."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def read_pids(folder: Path) -> dict[str, Process]:
    """Return the recorded daemons by name."""
    try:
        fields = json.loads((folder / "pids.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: Process(**values) for name, values in fields.items()}


def record_pid(folder: Path, name: str, process: Process | None) -> None:
    """Put one daemon into the record, or take it out."""
    known: dict[str, Process] = read_pids(folder)
    if process is None:
        known.pop(name, None)
    else:
        known[name] = process
    write_json(folder / "pids.json", {key: value._asdict() for key, value in known.items()})
