"""The only owner of `sh`: run one program with an argv, a given environment and a time limit; judge nothing.

`sh` forks, so from Python 3.12 on it warns in a process with threads. Its own time-out kills the direct child only
(measured: both grandchildren lived on), therefore the whole process group is killed here.
"""

import contextlib
import io
import os
import select
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import sh

__all__ = ["CommandResult", "run_command"]

_TERM_GRACE_S = 5.0
_LEAVE_GRACE_S = 1.0  #: once `stop` is set: the agent has ten seconds in all to leave
_PIPES_GRACE_S = 5.0
_LOOK_EVERY_S = 0.5
_LOOK_OFTEN_S = 0.05
_ANY_CODE = tuple(range(-64, 256))  # a failing program is a result, not an exception


@dataclass(frozen=True)
class CommandResult:
    """What came of one call.

    `exit_code` None: it did not end by itself, or did not start; then `not_started` says why, in words. Negative: the
    signal that ended it.
    """

    argv: tuple[str, ...]
    exit_code: int | None
    stdout: str = ""
    stderr: str = ""
    timed_out: bool = False
    duration_s: float = 0.0
    not_started: str = ""


def run_command(
    argv: Sequence[str],
    *,
    timeout_s: float,
    env: Mapping[str, str],
    stop: threading.Event | None = None,
    grace_s: float = _TERM_GRACE_S,
) -> CommandResult:
    """Run argv[0], found in env's PATH, with exactly `env`. Raises for nothing that the program or its absence does.

    After `timeout_s` seconds, or once `stop` is set, its process group gets TERM, and `grace_s` later KILL (a second
    later, once `stop` is set).
    """
    program, arguments = argv[0], argv[1:]
    out, err = io.BytesIO(), io.BytesIO()
    began = time.monotonic()
    process = _try_start(program, arguments, env, out, err)
    if isinstance(process, str):
        return CommandResult(tuple(argv), None, not_started=process)
    timed_out = not _wait(process, timeout_s, stop)
    if timed_out:
        is_leaving = stop is not None and stop.is_set()
        _kill_group(process, min(grace_s, _LEAVE_GRACE_S) if is_leaving else grace_s)
    return CommandResult(
        argv=tuple(argv),
        exit_code=None if timed_out else process.exit_code,
        stdout=out.getvalue().decode(errors="replace"),
        stderr=err.getvalue().decode(errors="replace"),
        timed_out=timed_out,
        duration_s=time.monotonic() - began,
    )


def _try_start(
    program: str, arguments: Sequence[str], env: Mapping[str, str], out: io.BytesIO, err: io.BytesIO
) -> sh.RunningCommand | str:
    """Start it; or why it could not be started, in words."""
    try:
        return _start(program, arguments, env, out, err)
    except sh.CommandNotFound:
        return _explain_missing(program, env)
    except (OSError, sh.ForkException) as error:
        return f"{program} could not be started: {error}"


def _start(
    program: str, arguments: Sequence[str], env: Mapping[str, str], out: io.BytesIO, err: io.BytesIO
) -> sh.RunningCommand:
    """Start it in a session of its own, with no terminal and an empty stdin."""
    command = sh.Command(program, search_paths=env.get("PATH", os.defpath).split(os.pathsep))
    # Output goes to buffers of ours, as bytes: sh keeps only the end of a long output and raises on invalid UTF-8.
    return command(
        *arguments,
        _env=dict(env),
        _in=b"",
        _out=out,
        _err=err,
        _no_out=True,
        _no_err=True,
        _tty_out=False,
        _decode_errors="replace",
        _ok_code=_ANY_CODE,
        _new_session=True,
        _bg_exc=False,
        _bg=True,
        _return_cmd=True,
    )


def _wait(process: sh.RunningCommand, timeout_s: float, stop: threading.Event | None) -> bool:
    """Wait for the end of the process and of its pipes; False if the time is over or `stop` was set.

    `sh`'s own wait with a limit sleeps by time.sleep(), which fails with EINVAL while the clock of the day jumps (seen
    with Python 3.11 under libfaketime), and returns before the last output is read. The kernel wakes this one.
    """
    deadline = time.monotonic() + timeout_s
    with _open_end(process.pid) as (end, look_every_s):
        while process.process.is_alive()[0]:
            left = deadline - time.monotonic()
            if left <= 0 or (stop is not None and stop.is_set()):
                return False
            if end.poll(1000 * min(left, look_every_s)):
                break
    process.process.wait()  # joins sh's readers, and gives up 2 s after the end if a grandchild keeps the pipe open
    return True


@contextlib.contextmanager
def _open_end(pid: int) -> Iterator[tuple[select.poll, float]]:
    """What becomes ready when the process ends, and how often to look besides; before Linux 5.3 only the looks."""
    end = select.poll()
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        yield end, _LOOK_OFTEN_S
        return
    try:
        end.register(descriptor, select.POLLIN)
        yield end, _LOOK_EVERY_S
    finally:
        os.close(descriptor)


def _kill_group(process: sh.RunningCommand, grace_s: float) -> None:
    """End the session's process group, grandchildren included; the group's id is the child's pid (_new_session)."""
    _signal_group(process.pid, signal.SIGTERM)
    if not _wait(process, grace_s, None) or _is_group_alive(process.pid):
        _signal_group(process.pid, signal.SIGKILL)
        _wait(process, _PIPES_GRACE_S, None)


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _is_group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _explain_missing(program: str, env: Mapping[str, str]) -> str:
    return (
        f"There is no program {program} in PATH ({env.get('PATH', os.defpath)}). "
        "Set [slurm] path in the agent's config to the folder that holds Slurm's commands."
    )
