"""Fault 3b.5: a command that was installed without its extra ended with a traceback.

An operator who typed `pip install ml-task-manager` and then `mltm-agent` expects to read which extra is missing.
"""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
WITHOUT = """
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Without())
sys.argv = [{program!r}, *{arguments!r}]
from mltm.entry_points import {function}
{function}()
"""
CASES = {
    "3b.5: agent without sh": ("agent", "sh"),
    "3b.5: agent without structlog": ("agent", "structlog"),
    "3b.5: agent without watchdog": ("agent", "watchdog"),
    "3b.5: agent without sdnotify": ("agent", "sdnotify"),
    "3b.5: gateway without argon2": ("gateway", "argon2"),
    "3b.5: gateway without peewee": ("gateway", "peewee"),
    "3b.5: gateway without openapi_pydantic": ("gateway", "openapi_pydantic"),
    "3b.5: gateway without structlog": ("gateway", "structlog"),
    "3b.5: gateway without sdnotify": ("gateway", "sdnotify"),
}


def run(extra: str, missing: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = WITHOUT.format(missing=missing, program=f"mltm-{extra}", arguments=list(arguments), function=f"run_{extra}")
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    argv = [sys.executable, "-c", code]
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=50, check=False)


@pytest.mark.parametrize(("extra", "missing"), CASES.values(), ids=CASES)
def test_the_missing_extra_is_named(extra: str, missing: str) -> None:
    ran = run(extra, missing, "--help")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.splitlines() == [
        f"mltm-{extra}: the Python package {missing} is not installed.",
        f"  Install the {extra} with what it needs: pip install 'ml-task-manager[{extra}]'",
    ]


@pytest.mark.parametrize(("extra", "missing"), [("agent", "sh"), ("gateway", "peewee")])
def test_the_version_is_told_all_the_same(extra: str, missing: str) -> None:
    ran = run(extra, missing, "--version")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"mltm-{extra} ")


@pytest.mark.parametrize("extra", ["agent", "gateway"])
def test_with_the_extra_the_command_runs(extra: str) -> None:
    ran = run(extra, "no_such_package", "--help")
    assert ran.returncode == 0
    assert f"Usage: mltm-{extra}" in ran.stdout


def test_a_module_of_our_own_that_is_missing_is_no_missing_extra() -> None:
    assert "Traceback" in run("agent", "agent", "--help").stderr


def test_the_installed_commands_go_this_way() -> None:
    scripts = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {
        "mltm": "mltm.cli.main:main",
        "mltm-gateway": "mltm.entry_points:run_gateway",
        "mltm-agent": "mltm.entry_points:run_agent",
    }


def test_the_light_client_needs_none_of_them() -> None:
    """What a bare install lacks, taken away all at once."""
    lacking = ["argon2", "openapi_pydantic", "peewee", "sdnotify", "structlog", "sh", "watchdog"]
    code = (
        f"import sys\nfor name in {lacking}: sys.modules[name] = None\nimport mltm.cli.main, mltm.client, mltm.notebook"
    )
    subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, timeout=50, check=True
    )
