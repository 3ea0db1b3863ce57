"""Fault 3b.5: no command told its version.

Whoever reports a fault or upgrades expects `--version` on each command, wherever it is installed.
"""

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

from mltm import entry_points

COMMANDS = {
    "mltm": "mltm.cli.main:main",
    "mltm-gateway": "mltm.entry_points:run_gateway",
    "mltm-agent": "mltm.entry_points:run_agent",
    "mltm-gateway, called as before": "gateway.cli:main",
    "mltm-agent, called as before": "agent.cli:main",
}


def run(entry: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    module, _, function = entry.partition(":")
    code = f"import sys; from {module} import {function}; {function}()"
    known = {name: value for name, value in os.environ.items() if not name.startswith("MLTM_")}
    argv = [sys.executable, "-c", code, *arguments]
    return subprocess.run(argv, env=known, capture_output=True, text=True, timeout=50, check=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_tells_its_version(name: str) -> None:
    ran = run(COMMANDS[name], "--version")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"{name.partition(',')[0]} {version('ml-task-manager')}\n"


@pytest.mark.parametrize("entry", COMMANDS.values(), ids=COMMANDS)
def test_its_help_names_the_option(entry: str) -> None:
    assert "--version" in run(entry, "--help").stdout


def test_code_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(_: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr(entry_points, "version", find)
    assert entry_points.read_version() == "unknown"
