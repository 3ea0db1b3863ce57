"""The predecessor's requests, with plain curl and with requests, each with and without the trailing slash."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests

from mltm.contract.spool_layout import Spool
from tests.gateway.build import SCRIPT, config
from tests.gateway.fixtures import PASSWORD, House, eventually, open_house

SLASHES = pytest.mark.parametrize("slash", ["", "/"])
FORM = {"username": "alice", "password": PASSWORD}
KEYS = {
    "id", "job_id", "instance_type", "image_name", "account", "runner_location", "script_path", "dataset_name",
    "experiment_name", "project_path",
}  # fmt: skip


def write_files(folder: Path) -> tuple[Path, Path]:
    (folder / "config.json").write_text(json.dumps(config()))
    (folder / "script.py").write_bytes(SCRIPT)
    return folder / "config.json", folder / "script.py"


async def curl(*arguments: str) -> tuple[int, Any]:
    """Run curl without proxies and settings; status and JSON."""
    command = ["curl", "-q", "--noproxy", "*", "-sS", "-m", "20", "-w", "\n%{http_code}", *arguments]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True, text=True)
    text, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(text)


async def by_requests(method: str, url: str, **options: Any) -> tuple[int, Any]:
    def send() -> tuple[int, Any]:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(method, url, timeout=20, allow_redirects=False, **options)
            return answer.status_code, answer.json()

    return await asyncio.to_thread(send)


@SLASHES
async def test_curl_goes_the_predecessors_way(house: House, slash: str, tmp_path: Path) -> None:
    write_files(tmp_path)
    login = f"{house.url}/auth/login{slash}"
    status, token = await curl(login, "-d", "username=alice", "--data-urlencode", f"password={PASSWORD}")
    assert (status, token["token_type"]) == (200, "bearer")
    key = ("-H", f"Authorization: Bearer {token['access_token']}")

    parts = ("-F", f"files=@{tmp_path}/config.json", "-F", f"files=@{tmp_path}/script.py")
    status, made = await curl(f"{house.url}/new_task{slash}", *key, *parts)
    assert (status, made["job_id"]) == (200, made["task_id"])  # no agent has answered: the task's id stands for it
    await house.agent.report(made["task_id"], "pending", job_id="4711")

    status, rows = await curl(f"{house.url}/tasks{slash}", *key)
    assert (status, [row["job_id"] for row in rows]) == (200, [4711])
    for name in ("4711", made["task_id"]):
        status, row = await curl(f"{house.url}/task/{name}{slash}", *key)
        assert (status, row["id"], row["job_id"]) == (200, made["task_id"], 4711)
        status, told = await curl(f"{house.url}/job_status/{name}{slash}", *key)
        assert (status, told) == (200, {"job_status": "PENDING: pending", "run_id": None})


@SLASHES
async def test_requests_goes_the_predecessors_way(house: House, slash: str, tmp_path: Path) -> None:
    status, token = await by_requests("POST", f"{house.url}/auth/login{slash}", data=FORM)
    assert status == 200
    headers = {"Authorization": f"Bearer {token['access_token']}"}

    sent = [("files", (path.name, path.read_bytes())) for path in write_files(tmp_path)]
    status, made = await by_requests("POST", f"{house.url}/new_task{slash}", headers=headers, files=sent)
    assert status == 200
    assert made.keys() >= KEYS
    assert (made["script_path"], made["dataset_name"], made["image_name"]) == (
        "script.py", "wine", "sklearn_sample_latest",
    )  # fmt: skip
    await house.agent.report(made["task_id"], "running", "succeeded", job_id="12", exit_code=0)

    status, rows = await by_requests("GET", f"{house.url}/tasks{slash}", headers=headers)
    assert (status, len(rows), rows[0].keys() >= KEYS) == (200, 1, True)
    status, row = await by_requests("GET", f"{house.url}/task/12{slash}", headers=headers)
    assert (status, row["job_id"], row["state"]) == (200, 12, "succeeded")
    status, told = await by_requests("GET", f"{house.url}/job_status/12{slash}", headers=headers)
    assert (status, told["job_status"]) == (200, "COMPLETED: succeeded")


async def test_an_id_that_nobody_has_is_404(house: House) -> None:
    for path in ("/task/999", "/job_status/999", "/task/nonsense", "/job_status/%20", "/task/999/"):
        status, problem = await by_requests("GET", f"{house.url}{path}", headers=house.headers("alice"))
        assert (status, problem["key"]) == (404, "task_not_found"), path


async def test_new_task_waits_for_the_job_id(tmp_path: Path) -> None:
    async with open_house(tmp_path, legacy_wait_s=20) as house:
        sent = asyncio.create_task(house.submit(path="/new_task"))
        incoming = Spool(house.agent.spool).inbox.new
        await eventually(lambda: incoming.is_dir() and any(incoming.iterdir()))
        (bundle,) = incoming.iterdir()
        await house.agent.report(bundle.name, "pending", job_id="31")

        assert (await sent)[1]["job_id"] == 31


async def test_the_old_words_stand_before_ours(house: House) -> None:
    for state, message, told in (
        ("running", "", "RUNNING: running"),
        ("finishing", "", "RUNNING: finishing"),
        ("failed", "exit code 3", "FAILED: failed, exit code 3"),
        ("cancelled", "", "FAILED: cancelled"),
        ("rejected", "invalid account", "FAILED: rejected, invalid account"),
    ):
        task_id = await house.make_task()
        await house.agent.report(task_id, state, message=message)
        assert (await house.call("GET", f"/job_status/{task_id}"))[1]["job_status"] == told


async def test_curl_is_told_no_before_it_sends_a_large_body(house: House, tmp_path: Path) -> None:
    large = tmp_path / "script.py"
    with large.open("wb") as file:
        file.truncate(40_000_000)  # sparse: nothing of it is read
    parts = ("-F", f"files=@{large}", "-H", "Expect: 100-continue", "-w", "\n%{size_upload} %{http_code}")
    url = f"{house.url}/v1/tasks"
    for key, wanted in (("Bearer wrong", 401), (f"Bearer {house.tokens['alice']}", 413)):
        command = ["curl", "-q", "--noproxy", "*", "-sS", "-m", "20", "-H", f"Authorization: {key}", *parts, url]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True, text=True)
        sent, status = done.stdout.rsplit("\n", 1)[1].split()
        assert (int(status), int(sent)) == (wanted, 0)
    assert not house.left_behind()
