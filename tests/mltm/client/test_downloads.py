from pathlib import Path

import pytest

from mltm.wire.errors import UnreachableError
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
