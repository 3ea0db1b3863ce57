import json
import stat
from pathlib import Path

import pytest

from mltm.wire.credentials import Access, credentials_file, read_access, write_access
from mltm.wire.downloads import place_inside
from mltm.wire.errors import MltmError, UnreachableError
from mltm.wire.retry_policy import RetryPolicy
from tests.mltm.client.build import INSTANT, open_client
from tests.mltm.client.fake_gateway import TASK_ID, FakeGateway, Fault

CONTENT = bytes(range(256)) * 512
HALF = Fault("GET", f"/v1/tasks/{TASK_ID}/outputs/model.joblib", kind="half")
ONE_TRY = RetryPolicy(request_s=0.0, sleep=INSTANT.sleep)


def _read_all(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


async def test_interrupted_download_leaves_no_half_file(gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.outputs["model.joblib"] = CONTENT
    gateway.faults = [HALF]
    target = tmp_path / "new" / "model.joblib"
    async with open_client(gateway, retry_policy=ONE_TRY) as client:
        with pytest.raises(UnreachableError, match="broke"):
            await client.download(TASK_ID, "model.joblib", target)
    assert _read_all(target.parent) == {}


async def test_interrupted_download_leaves_the_older_file_as_it_was(gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.outputs["model.joblib"] = CONTENT
    gateway.faults = [HALF]
    target = tmp_path / "model.joblib"
    target.write_bytes(b"older")
    async with open_client(gateway, retry_policy=ONE_TRY) as client:
        with pytest.raises(UnreachableError):
            await client.download(TASK_ID, "model.joblib", target)
    assert _read_all(tmp_path) == {"model.joblib": b"older"}


async def test_interrupted_download_is_fetched_again_whole(gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.outputs["model.joblib"] = CONTENT
    gateway.faults = [HALF, HALF]
    async with open_client(gateway) as client:
        size = await client.download(TASK_ID, "model.joblib", tmp_path / "model.joblib")
    assert size == len(CONTENT)
    assert _read_all(tmp_path) == {"model.joblib": CONTENT}


@pytest.mark.parametrize("name", ["sub/epoch 1 #2?.txt", "äöü/…%2e.bin", "a+b&c=d"])
async def test_names_of_outputs_reach_the_gateway_as_they_are(gateway: FakeGateway, tmp_path: Path, name: str) -> None:
    gateway.outputs[name] = b"x"
    async with open_client(gateway) as client:
        assert await client.download(TASK_ID, name, tmp_path / "x") == 1


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a//b", ".", "a/\x00"])
def test_an_output_cannot_lead_out_of_the_folder(tmp_path: Path, path: str) -> None:
    with pytest.raises(MltmError, match="is outside the folder, so it was not downloaded"):
        place_inside(tmp_path, path)


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
