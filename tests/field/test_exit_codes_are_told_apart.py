"""Fault 3.7: a traceback ended with exit code 1, which says that a task failed.

A script that waits for a task reads the exit code. It expects that 1 means its task and nothing else, and that a token
from a file, a terminal of another encoding, a closed stream or a wrong key end in words, with a code of docs/cli.md.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mltm.cli import exit_codes
from mltm.contract.states import State
from mltm.notebook import SyncClient
from mltm.wire.errors import MltmError
from tests.field.terminal import run_on_terminal
from tests.mltm.cli.run import Mltm, Ran
from tests.mltm.client.build import CONFIG, open_client, write_submission
from tests.mltm.client.fake_gateway import TASK_ID, TOKEN, FakeGateway, build_task

ASCII = {"PYTHONIOENCODING": "ascii"}
BAD_TOKENS = {
    "a line feed within": "test\ntoken",
    "not ASCII": "töken",
    "two words": "test token",
    "NUL-like": "a\x01b",
}


@dataclass(frozen=True)
class Case:
    """What is typed, around what; the code and a part of the message that are right."""

    arguments: tuple[str, ...]
    code: int
    message: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    around: str = '"$@"'


NO_ADDRESS = "not a gateway's address"
LOGIN = ("login", "-u", "ada", "--password-stdin")
CASES = {
    "3.7: a token with a line feed": Case(("whoami",), 0, env={"MLTM_TOKEN": TOKEN + "\n"}),
    "3.7: a token from a file of Windows": Case(("whoami",), 0, env={"MLTM_TOKEN": f" {TOKEN}\r\n"}),
    "3.7: an address with a line feed": Case(("whoami",), 0, env={"MLTM_URL": "GATEWAY/\n"}),
    "3.7: a token of two lines": Case(("whoami",), 77, "The token is not valid", {"MLTM_TOKEN": "test\ntoken"}),
    "3.7: a token that is not ASCII": Case(("whoami",), 77, "The token is not valid", {"MLTM_TOKEN": "töken"}),
    "3.7: a token of white space": Case(("whoami",), 77, "You are not logged in", {"MLTM_TOKEN": " \n"}),
    "3.7: a key with a line feed": Case(("submit", "CONFIG", "SCRIPT", "--key", "a\nb"), 2, "idempotency key"),
    "3.7: an empty key": Case(("submit", "CONFIG", "SCRIPT", "--key", ""), 2, "idempotency key"),
    "3.7: an address with a word as its port": Case(("--url", "http://host:port", "whoami"), 2, NO_ADDRESS),
    "3.7: half an IPv6 address": Case(("--url", "http://[::1", "whoami"), 2, NO_ADDRESS),
    "3.7: a login at half an address": Case(("login", "http://[::1", *LOGIN[1:]), 2, NO_ADDRESS, stdin=b"right\n"),
    "3.7: an address with a password": Case(("--url", "http://ada:pw@127.0.0.1:1", "whoami"), 2, "//…@127.0.0.1:1"),
    "3.7: an address with a query": Case(("--url", "http://127.0.0.1:1?a=b", "whoami"), 2, NO_ADDRESS),
    "3.7: an address of bytes": Case(("--url", "http://\udcff:1", "whoami"), 2, NO_ADDRESS),
    "3.7: a stdout of ASCII": Case(("status", TASK_ID), 0, env=ASCII),
    "3.7: a stdout of Latin 1": Case(("list",), 0, env={"PYTHONIOENCODING": "latin-1"}),
    "3.7: a stdout of a POSIX locale": Case(
        ("outputs", TASK_ID), 0, env={"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ),
    "3.7: stderr of ASCII": Case(("status", "ä"), 2, "is not a task id", ASCII),
    "3.7: a password that is not UTF-8": Case(LOGIN, 2, "not valid UTF-8", {"PYTHONUTF8": "1"}, b"gr\xfc\xdfe\n"),
    "3.7: a user name that is not UTF-8": Case(
        ("login", "-u", "\udcff", "--password-stdin"), 2, "not valid UTF-8", stdin=b"right\n"
    ),
    "3.7: nobody answers": Case(("login",), 2, "stdin has ended"),
    "3.7: nobody gives the password": Case(("login", "-u", "ada"), 2, "stdin has ended"),
    "3.7: stdout is closed": Case(("whoami",), 0, around='"$@" >&-'),
    "3.7: stdout and stderr are closed": Case(("status", "nonsense!"), 2, around='"$@" >&- 2>&-'),
    "3.7: all is closed": Case(("whoami",), 0, around='"$@" <&- >&- 2>&-'),
    "3.7: no space for the answer": Case(("whoami",), 74, "No space left", around='"$@" >/dev/full'),
    "3.7: no space for the help": Case(("--help",), 74, "No space left", around='"$@" >/dev/full'),
    "3.7: nobody reads the help": Case(("get", "--help"), 141, around='"$@" | true; exit ${PIPESTATUS[0]}'),
    "3.7: nobody reads the answer": Case(("status", TASK_ID), 141, around='"$@" | true; exit ${PIPESTATUS[0]}'),
    "3.7: wrong usage": Case(("get", "--no-such"), 2, "Usage: "),
}  # fmt: skip


def run(mltm: Mltm, case: Case, url: str, folder: Path) -> Ran:
    config, script = write_submission(folder)
    given = {"CONFIG": str(config), "SCRIPT": str(script)}
    argv = mltm.argv(*(given.get(one, one) for one in case.arguments))
    env = {**os.environ, **mltm.env, **case.env, "MLTM_URL": case.env.get("MLTM_URL", url).replace("GATEWAY", url)}
    done = subprocess.run(
        ["bash", "-c", case.around, "mltm", *argv],
        env=env,
        input=case.stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode("latin-1"), done.stderr.decode(errors="replace"))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_nothing_ends_as_a_failed_task(mltm: Mltm, gateway: FakeGateway, tmp_path: Path, case: Case) -> None:
    gateway.looks[TASK_ID] = [build_task(State.RUNNING, script_path="größe_µ.py", experiment_name="日本")]
    gateway.outputs = {"größe_日本.txt": b""}
    ran = run(mltm, case, gateway.url, tmp_path)
    assert ran.code == case.code, ran
    assert ran.code in exit_codes.MEANING
    assert case.message in ran.err
    assert "Traceback" not in ran.err
    assert "Exception ignored" not in ran.err
    assert ":pw@" not in ran.err
    if case.env.get("PYTHONIOENCODING") == "ascii" and not case.code:
        assert "gr??e_?.py" in ran.out


@pytest.mark.parametrize("token", [f"{TOKEN}\n", f"\t{TOKEN} ", f"{TOKEN}\r\n"])
async def test_python_strips_a_token(gateway: FakeGateway, token: str) -> None:
    async with open_client(gateway, token) as client:
        assert (await client.whoami()).username == "ada"


@pytest.mark.parametrize("token", BAD_TOKENS.values(), ids=BAD_TOKENS)
async def test_python_refuses_what_is_no_token_and_does_not_show_it(gateway: FakeGateway, token: str) -> None:
    with pytest.raises(MltmError, match=r"The token is not valid: its character \d is ") as caught:
        open_client(gateway, token)
    assert token not in str(caught.value)


@pytest.mark.parametrize("key", ["", "a\nb", "ü", "x" * 256, "a\x00"])
def test_the_notebook_refuses_what_is_no_key(gateway: FakeGateway, tmp_path: Path, key: str) -> None:
    _, script = write_submission(tmp_path)
    with SyncClient(open_client(gateway)) as client, pytest.raises(MltmError, match="idempotency key"):
        client.submit(CONFIG, script, idempotency_key=key)
    assert gateway.seen == []


@pytest.mark.parametrize("typed", [b"\x03", b"\x04"])
@pytest.mark.parametrize(("arguments", "question"), [((), "User name"), (("-u", "ada"), "Password")])
def test_a_question_can_be_left(mltm: Mltm, typed: bytes, arguments: tuple[str, ...], question: str) -> None:
    argv = mltm.argv("login", *arguments)
    code, shown = run_on_terminal(argv, {**os.environ, **mltm.env}, [(question, typed)])
    assert code == (exit_codes.INTERRUPTED if typed == b"\x03" else exit_codes.WRONG), shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    "error", ["KeyError('x')", "RecursionError()", "AssertionError('no')", "TypeError('bad')", "MemoryError()"]
)
@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("debug", ["", "1"])
def test_a_fault_of_our_own_has_its_own_code(mltm: Mltm, error: str, debug: str, as_json: bool) -> None:
    broken = (
        "import mltm.cli.account as account\nfrom mltm.cli.main import main\n"
        f"async def show_me(*_, **__):\n raise {error}\naccount.show_me = show_me\nmain()"
    )
    argv = [sys.executable, "-c", broken, "whoami", *(("--json",) if as_json else ())]
    done = subprocess.run(
        argv, env={**os.environ, **mltm.env, "MLTM_DEBUG": debug}, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == exit_codes.OWN_FAULT == 125
    message = f"This is a fault of mltm itself: {error.partition('(')[0]}"
    assert message in (json.loads(done.stderr.splitlines()[-1])["detail"] if as_json else done.stderr.decode())
    assert (b"Traceback" in done.stderr) == bool(debug)
