import json
import stat
from pathlib import Path

import pytest

from mltm.wire.credentials import Access, credentials_file, read_access, write_access
from mltm.wire.errors import MltmError


def test_credentials_can_be_read_by_their_user_only(tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    path = credentials_file(env)
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    path.chmod(0o644)  # an older, careless one
    assert write_access(env, Access("http://127.0.0.1:1", "secret")) == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["token"] == "secret"


def test_a_new_folder_of_credentials_is_closed_to_others(tmp_path: Path) -> None:
    path = write_access({"XDG_CONFIG_HOME": str(tmp_path / "config")}, Access("http://127.0.0.1:1", "secret"))
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_stored_token_goes_to_its_own_gateway_only(tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    write_access(env, Access("https://one:8008", "secret", username="ada"))
    assert read_access(env).token == "secret"
    assert read_access(env, url="https://one:8008/").token == "secret"
    assert read_access(env, url="https://two:8008").token is None
    assert read_access({**env, "MLTM_URL": "https://two:8008", "MLTM_TOKEN": "other"}).token == "other"


def test_access_never_shows_its_token() -> None:
    assert "secret" not in repr(Access("https://one:8008", "secret"))


def test_a_damaged_login_says_to_log_in_again(tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    path = credentials_file(env)
    path.parent.mkdir()
    path.write_text("{half")
    with pytest.raises(MltmError, match=r"Cannot read .*credentials\.json .* Run `mltm login"):
        read_access(env)
