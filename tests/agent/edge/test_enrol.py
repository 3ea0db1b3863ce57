"""Enrolment says the truth about who the agent is: what is dropped at a shared agent belongs to that name."""

import os
import subprocess

import pytest

from agent.enrol import read_unix_user


def test_the_unix_user_is_the_process_s_own_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody")
    said = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout
    assert read_unix_user() == said.strip()


def test_a_user_without_a_name_is_his_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000_000)
    assert read_unix_user() == "4000000000"
