"""Runs wrapper.sh as a process of its own, the way slurmd would, and reads back everything that it left."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from agent.job.wrapper import WRAPPER, WrapperSettings, build_wrapper_args
from lab.processes import wait_until
from mltm.contract.ids import TaskId
from mltm.contract.journal_records import Dup, Exit, JobClaim, Refused
from mltm.contract.spool_layout import PIECE_BYTES, Attempt, Spool, TaskFolder

INTENT = '{"kind":"submit","nonce":"0123"}\n'
SAVE = (
    "import signal, sys, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: (print('saved', flush=True), sys.exit(0)))\n"
    "print('up', flush=True)\ntime.sleep(60)"
)
IGNORE = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(60)"
PLAIN = "import time\nprint('up', flush=True)\ntime.sleep(60)"
# Counts TERM for as long as it may live, in itself and in a child.
COUNT = """
import os, signal, time
say = lambda word: os.write(1, f"{word} {'parent' if child else 'child'}\\n".encode())
signal.signal(15, lambda *_: say("TERM"))
child = os.fork()
say("up")
while True: time.sleep(1)
"""
COUNTED_ONCE = [b"TERM child", b"TERM parent", b"up child", b"up parent"]
UNTIL_GO = "import os, time\nprint('up', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.02)"
WARNED = "import signal, sys, time\nsignal.signal(10, lambda *_: sys.exit(5))\n" + PLAIN
Written = JobClaim | Exit | Refused | Dup


@dataclass(frozen=True)
class Prepared:
    """A task whose attempt 1 is ready for a copy of the wrapper."""

    spool: Spool
    folder: TaskFolder
    args: tuple[str, ...]
    script: Path = WRAPPER

    @property
    def records(self) -> Attempt:
        return self.folder.attempt(1)


def prepare(
    root: Path,
    code: str,
    *,
    env: Sequence[str] = (),
    checks: Sequence[str] = (),
    has_image: bool = False,
    warns: bool = False,
    beat_stop_s: float = 60,
    kill_wait_s: float = 3,
    try_s: int = 10,
) -> Prepared:
    task_id = TaskId(os.urandom(16).hex())
    spool = Spool(root)
    folder = spool.task(task_id)
    for path in (*folder.folders, spool.notes, spool.bell):
        path.mkdir(parents=True, exist_ok=True)
    records = folder.attempt(1)
    records.intent.write_text(INTENT)
    write_list(records.argv, [sys.executable, "-S", "-c", code])
    write_list(records.env, env)
    write_list(records.checks, checks)
    settings = WrapperSettings(
        has_image=has_image, warns=warns, log_head_bytes=2 * PIECE_BYTES, log_tail_bytes=2 * PIECE_BYTES,
        beat_every_s=0.2, beat_stop_s=beat_stop_s, kill_wait_s=kill_wait_s, try_s=try_s,
    )  # fmt: skip
    return Prepared(spool, folder, build_wrapper_args(root, task_id, 1, settings))


def write_list(path: Path, items: Sequence[str]) -> None:
    path.write_bytes(b"".join(os.fsencode(item) + b"\0" for item in items))


@contextmanager
def started(task: Prepared, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Start one copy; whatever it leaves behind in its session is ended afterwards."""
    process = subprocess.Popen(
        [str(task.script), *task.args],
        cwd=task.folder.path,
        env={**os.environ, "SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1", **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            signal_job(process, signal.SIGKILL)


def finish(process: subprocess.Popen[str]) -> int:
    process.communicate(timeout=25)
    return process.returncode


def run(task: Prepared, **variables: str) -> int:
    with started(task, **variables) as process:
        return finish(process)


def read_session(process: subprocess.Popen[str]) -> list[int]:
    """The processes of the job: those of the session that the wrapper leads."""
    found = []
    for pid in [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]:
        with suppress(OSError):
            if os.getsid(pid) == process.pid and not _is_zombie(pid):
                found.append(pid)
    return found


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def signal_job(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Signal every process of the job, as Slurm does."""
    for pid in read_session(process):
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def read_log(task: Prepared) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(task.folder.attempt_logs(1).glob("out.*")))


def wait_log(task: Prepared, text: str) -> None:
    assert wait_until(lambda: text.encode() in read_log(task), timeout_s=15), read_log(task)


def read_written(task: Prepared) -> dict[str, list[Written]]:
    """Every record that wrappers have written, by kind; each has to parse and to be one line."""
    found: dict[str, list[Written]] = {}
    for path in sorted(task.folder.control.iterdir()):
        assert not path.name.startswith("."), f"{path.name} was left behind"
        if path.name.partition(".")[0] in {"claim", "exit", "refused", "dup"}:
            text = path.read_bytes()
            assert text.endswith(b"\n")
            assert text.count(b"\n") == 1
            assert path.stat().st_mode & 0o777 == 0o600
            record = TypeAdapter[Written](Written).validate_json(text)
            assert text.startswith(f'{{"kind":"{record.kind}"'.encode())
            found.setdefault(record.kind, []).append(record)
    return found


def read_exit(task: Prepared) -> Exit:
    """The exit record; its nonce has to be that of the claim."""
    found = Exit.model_validate_json(task.records.exit.read_bytes())
    assert found.nonce == JobClaim.model_validate_json(task.records.claim.read_bytes()).nonce
    return found


def read_kinds(task: Prepared) -> dict[str, int]:
    return {kind: len(records) for kind, records in read_written(task).items()}


def read_refusal(task: Prepared) -> Refused:
    """The one refusal of a copy that has touched nothing else."""
    written = read_written(task)
    assert set(written) == {"refused"}
    assert (task.spool.bell / task.folder.task_id).exists()
    refused = written["refused"][0]
    assert isinstance(refused, Refused)
    return refused
