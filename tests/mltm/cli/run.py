"""Runs the command: in this process with waits cut to nothing, or as a program of its own on pipes."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from typer.testing import CliRunner

from mltm.cli import session
from mltm.cli.main import app
from tests.mltm.client.build import INSTANT

__all__ = ["Mltm", "Ran"]


@dataclass(frozen=True)
class Ran:
    """What a run of the command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        (line,) = self.out.splitlines()
        fields: dict[str, Any] = json.loads(line)
        return fields

    @property
    def documents(self) -> list[dict[str, Any]]:
        """A JSON document a line."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class Mltm:
    """The command with an environment of the test's own."""

    env: Mapping[str, str]
    patch: pytest.MonkeyPatch

    def __call__(self, *arguments: object, stdin: str | None = None, **env: str | None) -> Ran:
        """Run it here; an exception that gets out of it fails the test. `env` of None takes a variable away."""
        self.patch.setattr(session, "RetryPolicy", lambda: INSTANT)
        given = {**self.env, **env}
        result = CliRunner().invoke(app, [str(one) for one in arguments], input=stdin, env=given, prog_name="mltm")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout_bytes.decode(), result.stderr_bytes.decode())

    def as_program(self, *arguments: object, **env: str) -> Ran:
        """Run it as a program with piped stdout and stderr."""
        done = subprocess.run(
            self.argv(*arguments), env={**os.environ, **self.env, **env}, capture_output=True, timeout=30, check=False
        )
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())

    @staticmethod
    def argv(*arguments: object) -> list[str]:
        """The program and its arguments."""
        return [sys.executable, "-c", "from mltm.cli.main import main; main()", *(str(one) for one in arguments)]
