"""The main job on a real Slurm (accounting on and off) and on the stand-in: every way in, every end, by processes."""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.e2e.house import ADMIN_PASSWORD, SEED, House, open_house, run, wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]

GOOD = textwrap.dedent("""
    import argparse, json, os, pathlib
    parser = argparse.ArgumentParser()
    parser.add_argument("--input_path"); parser.add_argument("--output_path")
    a = parser.parse_args()
    print("read", pathlib.Path(a.input_path).read_text())
    params = json.loads(pathlib.Path(os.environ["MLTM_PARAMS"]).read_text())
    pathlib.Path(a.output_path, "metrics.json").write_text(json.dumps({"accuracy": 0.5, "params": params}))
""")
ONCE_MORE = textwrap.dedent("""
    import os, pathlib, sys
    saved = pathlib.Path(os.environ["MLTM_CHECKPOINT_DIR"], "half")
    if not saved.exists():
        saved.touch()
        sys.exit(85)
""")
SLOW = "import time\nprint('started', flush=True)\ntime.sleep(600)\n"


@pytest.fixture(
    params=[
        pytest.param("slurm_lab", marks=pytest.mark.slurm),
        pytest.param("slurm_lab_accounting", marks=pytest.mark.slurm),
        pytest.param("standin", marks=pytest.mark.standin),
    ]
)
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    slurm = request.getfixturevalue(request.param)
    with open_house(tmp_path, slurm.env) as opened:
        yield opened


def test_tasks_reach_their_true_ends(house: House) -> None:
    good = house.submit(GOOD)
    bad = house.submit("import sys\nsys.exit(7)\n")
    killed = house.submit("import os\nos.kill(os.getpid(), 9)\n")
    wrong = house.submit(GOOD, config=_with(instance_type="nowhere"))
    dataless = house.submit(GOOD, config={**SEED, "dataset_name": "absent"})
    rerun = house.submit(ONCE_MORE, config={**SEED, "rerun_on": [85]})
    spent = house.submit("import sys\nsys.exit(85)\n", config={**SEED, "rerun_on": [85], "rerun_limit": 2})
    slow = house.submit(SLOW)
    house.wait_state(slow, "running")
    wait_until(lambda: "started" in house.ask("GET", f"/v1/tasks/{slow}/log?length=1000").text, "the log is there")
    assert house.ask("POST", f"/v1/tasks/{slow}/cancel").status_code in {200, 202}

    ends = {name: house.wait_final(task) for name, task in locals().items() if isinstance(task, str)}

    states = {name: end["state"] for name, end in ends.items()}
    assert states == {
        "good": "succeeded", "bad": "failed", "killed": "failed", "wrong": "rejected", "dataless": "rejected",
        "rerun": "succeeded", "spent": "failed", "slow": "cancelled",
    }  # fmt: skip
    attempts = {name: len(end["attempts"]) for name, end in ends.items() if isinstance(end["attempts"], list)}
    assert (attempts["good"], attempts["rerun"], attempts["spent"]) == (1, 2, 3)
    assert "7" in str(ends["bad"]["reason"])
    assert "absent" in str(ends["dataless"]["reason"])
    assert "partition" in str(ends["wrong"]["reason"]).lower()
    metrics = house.ask("GET", f"/v1/tasks/{good}/outputs/metrics.json").json()
    assert metrics == {"accuracy": 0.5, "params": SEED["model_params"]}
    assert "read a,b" in house.ask("GET", f"/v1/tasks/{good}/log?length=1000").text
    again = house.ask("POST", f"/v1/tasks/{good}/cancel")
    assert (again.status_code, again.json()["key"]) == (409, "already_final")


def _with(**infra: str) -> dict[str, object]:
    known = {"instance_type": "cpu", "image_name": "image", **infra}
    return {**SEED, "clusters": {"atena02": {"infra_config": known}}}


def test_old_clients_and_drops_take_the_same_way(house: House) -> None:
    login = requests.post(f"{house.url}/auth/login", data={"username": "admin", "password": ADMIN_PASSWORD}, timeout=30)
    bearer = {"Authorization": f"Bearer {login.json()['access_token']}"}
    parts = [("files", ("config.json", json.dumps(SEED))), ("files", ("script.py", GOOD))]
    old = requests.post(f"{house.url}/new_task/", files=parts, headers=bearer, timeout=30).json()
    drop = house.spool / "drop"
    (drop / "script.py").write_text(GOOD)
    (drop / "mine.json").write_text(json.dumps(SEED))

    house.wait_final(old["id"])
    status = requests.get(f"{house.url}/job_status/{old['job_id']}", headers=bearer, timeout=30).json()
    assert status["job_status"].startswith("COMPLETED")
    receipt = drop / "mine.json.receipt.json"
    wait_until(lambda: receipt.exists() and json.loads(receipt.read_text())["final"], "the drop ends")
    dropped = json.loads(receipt.read_text())
    assert dropped["state"] == "succeeded"
    assert house.wait_final(dropped["task_id"])["owner"] == "admin"


def test_a_faulty_drop_is_rejected_in_the_same_words_at_the_gateway_and_beside_it(house: House) -> None:
    drop = house.spool / "drop"
    (drop / "script.py").write_text(GOOD)
    (drop / "wrong.json").write_text(json.dumps({**SEED, "model_parms": {}}))
    (drop / "half.json").write_text(json.dumps(SEED)[:40])

    for name, message in (("wrong.json", "model_parms: no such field"), ("half.json", "valid JSON")):
        receipt = drop / f"{name}.receipt.json"
        wait_until(receipt.exists, f"{name} has a receipt")
        said = json.loads(receipt.read_text())
        wait_until(lambda: house.ask("GET", f"/v1/tasks/{said['task_id']}").ok, f"{name} is at the gateway")  # noqa: B023 - called here
        task = house.read(said["task_id"])
        assert (task["state"], task["final"], task["owner"]) == ("rejected", True, "admin")
        assert (said["state"], said["final"], said["message"]) == ("rejected", True, task["reason"])
        assert message in said["message"]
        assert (house.spool / "bad" / said["task_id"] / name).exists()
        env = {"MLTM_URL": house.url, "MLTM_TOKEN": house.token}
        assert message in run("mltm", "status", said["task_id"], "--json", **env)
        assert said["task_id"] in run("mltm", "list", "--json", **env)
        assert said["task_id"] in house.ask("GET", "/tasks/").text


@pytest.mark.slurm
def test_check_and_once_speak_in_words(slurm_lab: object, tmp_path: Path) -> None:
    with open_house(tmp_path, slurm_lab.env) as house:  # type: ignore[attr-defined] # the lab's fixture
        said = run("mltm-agent", "check", "--config", str(house.folder / "agent.toml"))
    others = [line for line in said.splitlines() if not line.startswith("ok")]
    assert [line[:34] for line in others] == ['warn  isolation: Runtime "none" do'], said
