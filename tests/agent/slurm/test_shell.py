"""Programs as they can be: failing, missing, hanging with children, and printing what is no text."""

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from agent.slurm.shell import CommandResult, run_command

ENV = {"PATH": os.environ.get("PATH", os.defpath)}


def write_program(folder: Path, name: str, text: str) -> dict[str, str]:
    """Write an executable; return an environment whose PATH finds it."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return {"PATH": f"{folder}:{ENV['PATH']}"}


def run_sh(script: str, *, timeout_s: float = 20, stop: threading.Event | None = None) -> CommandResult:
    return run_command(["sh", "-c", script], timeout_s=timeout_s, env=ENV, stop=stop, grace_s=0.2)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # killed, and not yet waited for by whoever adopted it


def is_gone_soon(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    return not is_alive(pid)


def test_a_failing_program_is_a_result() -> None:
    done = run_sh("echo out; echo err >&2; exit 93")
    assert (done.exit_code, done.stdout, done.stderr, done.timed_out) == (93, "out\n", "err\n", False)


def test_no_wait_rests_on_the_clock_of_the_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """time.sleep() fails with EINVAL while that clock jumps: seen in `sh`'s own wait."""

    def fail(_: float) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(time, "sleep", fail)
    assert run_sh("sleep 0.3; echo out").stdout == "out\n"
    assert run_sh("sleep 30", timeout_s=0.3).timed_out


def test_an_end_is_seen_where_the_kernel_has_no_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "pidfd_open", missing)
    assert run_sh("sleep 0.2; exit 3").exit_code == 3
    assert run_sh("sleep 30", timeout_s=0.3).timed_out


def test_a_signal_is_a_negative_exit_code() -> None:
    assert run_sh("kill -9 $$").exit_code == -9


def test_what_is_no_utf8_is_replaced_and_nothing_raises() -> None:
    done = run_sh(r"printf 'a\377\376b\n'; printf '\200' >&2; exit 1")
    assert (done.exit_code, done.stdout, done.stderr) == (1, "a\ufffd\ufffdb\n", "\ufffd")


def test_a_long_output_is_kept_from_its_first_byte_to_its_last() -> None:
    done = run_sh("i=0; while [ $i -lt 200 ]; do printf '%01000d\n' $i; i=$((i+1)); done")
    lines = done.stdout.splitlines()
    assert (len(lines), int(lines[0]), int(lines[-1])) == (200, 0, 199)


def test_the_environment_is_exactly_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBATCH_PARTITION", "nope")
    env = {**ENV, "TZ": "UTC"}
    said = run_command(["env"], timeout_s=20, env=env).stdout.split()
    assert set(said) == {f"{name}={value}" for name, value in env.items()}


def test_there_is_no_terminal_and_nothing_to_read() -> None:
    assert run_sh("cat; [ -t 0 ] || [ -t 1 ] || [ -t 2 ] || echo none").stdout == "none\n"


def test_an_argument_is_no_shell_text() -> None:
    strange = "$(id) `id`; 'x' \\ \n*"
    assert run_command(["printf", "%s", strange], timeout_s=20, env=ENV).stdout == strange


def test_a_missing_program_is_said_with_what_to_do(tmp_path: Path) -> None:
    done = run_command(["sbatch"], timeout_s=20, env={"PATH": str(tmp_path)})
    assert done.exit_code is None
    assert done.not_started.startswith(f"There is no program sbatch in PATH ({tmp_path}). Set [slurm] path")


def test_a_program_that_cannot_be_started_is_said(tmp_path: Path) -> None:
    env = write_program(tmp_path, "sbatch", "#!/nowhere/python\n")
    done = run_command(["sbatch"], timeout_s=20, env=env)
    assert done.exit_code is None
    assert done.not_started.startswith("sbatch could not be started: ")


@pytest.mark.parametrize("ignore", ["", "trap '' TERM; "], ids=["heeds TERM", "ignores TERM"])
def test_a_time_limit_ends_the_grandchildren_too(ignore: str, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    child = f"sh -c '{ignore}echo $$ >>{pids}; while :; do sleep 1000; done'".replace("trap ''", 'trap ""')
    done = run_sh(f"{child} & {child} & echo begun; wait; while :; do sleep 1; done", timeout_s=0.7)

    assert (done.exit_code, done.timed_out, done.stdout) == (None, True, "begun\n")
    assert done.duration_s < 15
    found = [int(line) for line in pids.read_text(encoding="utf-8").split()]
    assert len(found) == 2
    assert all(is_gone_soon(pid) for pid in found)


def test_an_agent_that_stops_waits_for_no_program() -> None:
    stop = threading.Event()
    stop.set()
    done = run_sh("sleep 1000", stop=stop)
    assert (done.exit_code, done.timed_out) == (None, True)
    assert done.duration_s < 10


def test_programs_may_run_side_by_side() -> None:
    done: dict[int, str] = {}

    def run(number: int) -> None:
        done[number] = run_sh(f"echo {number}").stdout

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert done == {number: f"{number}\n" for number in range(8)}
