"""What a person sees who asks how to use a program, or uses it wrongly, on a pipe."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.house import BIN

CHECKOUT = Path(__file__).resolve().parents[2]


def run(*argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith("MLTM_")}
    return subprocess.run(argv, env={**known, **env}, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.parametrize(
    "message",
    [
        "mltm --help", "mltm-gateway --help", "mltm-gateway user -h", "mltm-gateway agent code --help",
        "mltm-agent --help", "mltm-agent run --help", "mltm-gateway nonsense", "mltm-agent run --nonsense",
    ],
)  # fmt: skip
def test_help_and_errors_on_a_pipe_are_plain_text(message: str) -> None:
    program, *arguments = message.split()
    ran = run(str(BIN / program), *arguments, FORCE_COLOR="1", TERM="xterm-256color")
    said = ran.stdout + ran.stderr
    assert f"Usage: {program}" in said
    assert not set("╭│╰\x1b") & set(said)


@pytest.mark.parametrize("env", [{}, {"MLTM_USER": "ada", "MLTM_PASSWORD": "x"}])
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_curl_example_says_how_it_is_called(shell: str, env: dict[str, str]) -> None:
    ran = run(shell, str(CHECKOUT / "examples" / "curl.sh"), **env)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "usage: MLTM_USER=… MLTM_PASSWORD=… sh examples/curl.sh CONFIG SCRIPT [FOLDER]\n"
