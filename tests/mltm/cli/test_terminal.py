import os
import pty
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mltm.cli.plain_text import LogText, safe_line, safe_text
from mltm.contract.states import State
from tests.mltm.cli.run import Mltm
from tests.mltm.client.build import write_submission
from tests.mltm.client.fake_gateway import TASK_ID, FakeGateway, Fault, build_task

EVIL = "\x1b[2J\x1b]0;title\x07\x9b31m\u202egpj.exe\r\n\x1b[1A"
CHANGE = re.compile(r"\d\d:\d\d:\d\d (pending|running|cancelled) on n1 \(job 41\)( - .*)?")


def test_progress_on_a_pipe_is_plain_lines_with_times(mltm: Mltm, gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.looks[TASK_ID] = [
        build_task(State.PENDING, reason=EVIL),
        build_task(State.RUNNING),
        build_task(State.CANCELLED, reason="by ada"),
    ]
    ran = mltm("submit", *write_submission(tmp_path), "--wait", FORCE_COLOR="1", TERM="xterm-256color")
    assert (ran.code, ran.out) == (5, f"{TASK_ID[:-1]}0\n")
    assert "\x1b" not in ran.err
    *changes, last = ran.err.splitlines()
    assert [found[1] for line in changes if (found := CHANGE.fullmatch(line))] == ["pending", "running", "cancelled"]
    assert len(changes) == 3
    assert last.startswith(f"Task {TASK_ID[:-1]}0 cancelled.")


def test_errors_on_a_pipe_have_no_escape_codes(mltm: Mltm, gateway: FakeGateway) -> None:
    gateway.faults = [Fault("GET", "/v1/me", status=404, detail=f"No {EVIL}.", next_step=EVIL)]
    ran = mltm.as_program("whoami", FORCE_COLOR="1", TERM="xterm-256color")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "mltm: No gpj.exe .\n  gpj.exe\n"


@pytest.mark.parametrize("arguments", [("status", "--no-such"), ("submit",), ("no-such-command",)])
def test_wrong_use_on_a_pipe_has_no_escape_codes(mltm: Mltm, arguments: tuple[str, ...]) -> None:
    ran = mltm(*arguments, FORCE_COLOR="1", TERM="xterm-256color")
    assert (ran.code, ran.out) == (2, "")
    assert "\x1b" not in ran.err
    assert "Usage: mltm" in ran.err


@pytest.mark.parametrize("arguments", [("status", TASK_ID), ("status", TASK_ID, "--json")])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_enough_is_no_error(
    mltm: Mltm, gateway: FakeGateway, arguments: tuple[str, ...], unbuffered: str
) -> None:
    gateway.looks[TASK_ID] = [build_task(State.RUNNING)]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ran = subprocess.run(
            mltm.argv(*arguments), env={**os.environ, **mltm.env, "PYTHONUNBUFFERED": unbuffered},
            stdout=writing, stderr=subprocess.PIPE, timeout=30, check=False,
        )  # fmt: skip
    finally:
        os.close(writing)
    assert (ran.returncode, ran.stderr) == (141, b"")


def test_ctrl_c_while_waiting_says_that_the_task_goes_on(mltm: Mltm, gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.looks[TASK_ID] = [build_task(State.RUNNING)]
    argv = mltm.argv("submit", *write_submission(tmp_path), "--wait")
    program = subprocess.Popen(argv, env={**os.environ, **mltm.env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with program, _killed_after(program, 20):
        assert program.stderr is not None
        assert b" running " in program.stderr.readline()
        program.send_signal(signal.SIGINT)
        out, err = program.communicate()
    task_id = out.decode().strip()
    assert program.returncode == 130
    assert err.decode() == (
        f"The task goes on. To watch it: mltm status {task_id} --wait. To cancel it: mltm cancel {task_id}\n"
    )


def test_a_terminal_gets_live_progress(mltm: Mltm, gateway: FakeGateway) -> None:
    gateway.looks[TASK_ID] = [build_task(State.RUNNING, reason=EVIL), build_task(State.SUCCEEDED)]
    code, shown = _run_on_terminal(mltm, "status", TASK_ID, "--wait")
    assert code == 0
    assert "\x1b[" in shown  # the line that moves
    assert "running on n1 (job 41) - gpj.exe" in shown
    assert f"Task {TASK_ID} succeeded." in shown
    assert not re.search("\x1b\\[2J|\x1b\\]0;|\u202e|\x9b", shown)


def test_a_terminal_is_not_written_to_by_a_script(mltm: Mltm, gateway: FakeGateway) -> None:
    gateway.looks[TASK_ID] = [build_task(State.RUNNING, script_path=EVIL)]
    code, shown = _run_on_terminal(mltm, "list")
    assert code == 0
    assert "gpj.exe" in shown
    assert not re.search("\x1b\\[2J|\x1b\\]0;|\u202e|\x9b|\x1b\\[1A", shown)


def test_help_needs_no_http_library() -> None:
    asked = "import sys, mltm.cli.main; print('aiohttp' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", asked], timeout=30) == b"False\n"


@pytest.mark.parametrize("cut", range(1, 12))
def test_escape_sequences_are_stripped_wherever_a_chunk_ends(cut: int) -> None:
    data, text = b"a\x1b[31mb\xc3\xa9\r\nc\x1b]0;x\x07d", LogText()
    assert text.feed(data[:cut]) + text.feed(data[cut:]) + text.feed(b"", last=True) == "abé\ncd"


def test_text_is_kept_where_it_is_harmless() -> None:
    assert safe_text("10%\r50%\r100%\n\tπ 漢 🎉") == "10%\n50%\n100%\n\tπ 漢 🎉"
    assert safe_line(EVIL) == "gpj.exe"


class _killed_after:  # noqa: N801 - used like a function
    """Ends a program that hangs, so that the test fails instead of waiting."""

    def __init__(self, program: subprocess.Popen[bytes], seconds: float) -> None:
        self._timer = threading.Timer(seconds, program.kill)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()


def _run_on_terminal(mltm: Mltm, *arguments: str) -> tuple[int, str]:
    ours, theirs = pty.openpty()
    env = {**os.environ, **mltm.env, "TERM": "xterm-256color", "COLUMNS": "200"}
    program = subprocess.Popen(mltm.argv(*arguments), env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    with program, _killed_after(program, 20), os.fdopen(ours, "rb", buffering=0) as screen:
        while piece := _read_or_end(screen.fileno()):
            shown += piece
        program.wait()
    return program.returncode, shown.decode()


def _read_or_end(fd: int) -> bytes:
    try:
        return os.read(fd, 65_536)
    except OSError:  # EIO: the last program at the terminal is gone
        return b""
