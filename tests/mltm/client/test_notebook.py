import json
from pathlib import Path

from mltm.contract.states import State
from mltm.notebook import SyncClient
from tests.mltm.client.build import open_client, write_submission
from tests.mltm.client.fake_gateway import TASK_ID, FakeGateway, Fault, build_task


def test_the_client_without_await_does_the_same(gateway: FakeGateway, tmp_path: Path) -> None:
    config, script = write_submission(tmp_path)
    gateway.looks[TASK_ID] = [build_task(State.RUNNING), build_task(State.SUCCEEDED)]
    gateway.outputs["metrics.json"] = b'{"accuracy": 0.9}'
    gateway.faults = [Fault("POST", "/v1/tasks", status=503)]
    with SyncClient(open_client(gateway)) as client:
        task = client.wait(client.submit(config, script).task_id)
        assert list(client.follow_log(task.task_id)) == []
        client.download(task.task_id, "metrics.json", tmp_path / "metrics.json")
    assert task.state is State.SUCCEEDED
    assert json.loads((tmp_path / "metrics.json").read_text())["accuracy"] == 0.9
