"""A few tries of every attack, and its control: `make attack` does many more."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from attack.run import SCENARIOS

pytestmark = [pytest.mark.root, pytest.mark.long, pytest.mark.standin, pytest.mark.timeout(600)]
CHECKOUT = Path(__file__).resolve().parents[2]
TRIES = {
    "acknowledged-path": 9, "planted-names": 3, "bind-sources": 20, "hostile-reports": 40, "paths": 8, "adoption": 8,
    "sbatch-options": 3, "bombs": 9, "shown-secrets": 1, "fetched-addresses": 12,
    "markup": 3, "browser": 2, "foreign-agents": 8, "replayed-reports": 300,
    "log-lines": 6, "foreign-ids": 14, "bundle-forgery": 6, "opened-inbox": 1,
    "login-guesses": 60, "shared-folders": 13, "moved-address": 6, "removed-user": 8, "same-name": 8,
    "linked-outputs": 5, "file-modes": 1, "plain-addresses": 4, "shared-agent": 1,
    "brimful-disk": 1, "many-ranges": 120, "another-uid": 2, "odd-requests": 32,
    "full-disk": 2, "long-names": 1, "worst-batches": 12,
    "swaps-publisher": 2000, "swaps-address": 2000, "swaps-bundles": 2000,
    "swaps-drops": 2000, "swaps-outputs": 2000,
}  # fmt: skip

# Their controls wait for minutes; tests/gateway/front and tests/gateway/http/test_login.py try the same in seconds.
# What `container` runs is a part of `make test` by itself.
ONLY_BY_COMMAND = {"slow-clients", "login-flood", "container"}


@pytest.fixture
def as_root() -> None:
    if os.geteuid() != 0:
        message = "The parties of an attack need accounts of their own: this takes root."
        if os.environ.get("CI"):
            pytest.fail(message)  # in CI no part may be missing
        pytest.skip(message)


def test_an_unknown_scenario_is_named_with_those_that_there_are() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "attack", "nonsense"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "there is no scenario nonsense; there are acknowledged-path, " in done.stderr


def test_every_scenario_has_a_short_form() -> None:
    assert TRIES.keys() | ONLY_BY_COMMAND == SCENARIOS.keys()


@pytest.mark.parametrize("name", TRIES)
@pytest.mark.usefixtures("as_root")
def test_an_attack_is_refused_and_succeeds_without_its_guard(name: str) -> None:
    argv = [sys.executable, "-m", "attack", name, "--tries", str(TRIES[name])]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=580)

    row = [cell.strip() for cell in done.stdout.splitlines()[-1].split("|")[1:-1]]
    assert done.returncode == 0, done.stdout + done.stderr
    assert (row[0], row[4]) == (name, "all")
    assert re.fullmatch(r"[1-9][\d,]* of [\d,]+ reached", row[5])
