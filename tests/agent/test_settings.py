"""The agent's config file: what it says, and what is said of a wrong one."""

from pathlib import Path

import pytest

from agent.errors import SettingsError
from agent.settings import AgentSettings, read_settings

LEAST = 'spool = "/spool"\ncluster = "atena02"\ncredential_file = "/credential"\n'


def read(folder: Path, more: str) -> AgentSettings:
    (folder / "agent.toml").write_text(LEAST + more)
    return read_settings(folder / "agent.toml")


@pytest.mark.parametrize("name", ["retry_max_s", "retry_most_s"])
def test_a_wait_is_read_under_its_name_and_under_that_of_version_0_1(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, f"[waits]\n{name} = 7\n").waits.retry_max_s == 7


def test_a_wait_under_both_names_is_refused_and_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"waits\.retry_most_s"):
        read(tmp_path, "[waits]\nretry_max_s = 7\nretry_most_s = 8\n")


@pytest.mark.parametrize("more", ["spol = 1\n", "[waits]\nretry_max = 1\n", "[waits]\nrescan_s = -1\n", "waits = 3\n"])
def test_what_is_wrong_is_named_with_its_place_in_the_file(tmp_path: Path, more: str) -> None:
    with pytest.raises(SettingsError, match=r"agent\.toml is not valid: (spol|waits)"):
        read(tmp_path, more)
