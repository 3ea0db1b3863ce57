"""A dropped task is made from its agent's first report, whatever its config is, and belongs to whoever dropped it."""

from pathlib import Path
from typing import Any

import pytest

from mltm.contract import routes
from tests.gateway.agent import START
from tests.gateway.build import CLUSTER, config
from tests.gateway.fixtures import House, open_house

TASK = "0190a0b0c0d07e0f8a0b0c0d0e0f0a0b"
MESSAGE = "The drop 'run.json' can be no task: model_parms: no such field. It lies in /spool/bad/x."


def manifest(shown: Any, **fields: object) -> dict[str, object]:
    return {
        "task_id": TASK, "owner": "", "cluster": CLUSTER, "submitted_at": START.isoformat(), "script_name": "",
        "config": shown, "files": [], "source": "drop", "fault": MESSAGE, **fields,
    }  # fmt: skip


CONFIGS: dict[str, dict[str, Any]] = {
    "no JSON": {},
    "an unknown field": {**config(), "model_parms": {}},
    "wrong types": {"clusters": [1], "script_path": {"a": 1}, "dataset_name": None, "experiment_name": 7},
    "a section of a wrong type": {"clusters": {CLUSTER: {"infra_config": "cpu"}}},
    "another kind of section": {"clusters": {CLUSTER: [1, 2]}},
    "control characters": {**config(), "experiment_name": "\x1b[2J", "dataset_name": "x" * 5000},
}


@pytest.mark.parametrize("case", CONFIGS)
async def test_a_drop_that_can_be_no_task_is_shown_as_rejected_everywhere(house: House, case: str) -> None:
    shown = manifest(CONFIGS[case])
    assert await house.agent.report(TASK, "rejected", message=MESSAGE, taken=True, manifest=shown) == ["taken"]

    status, task = await house.call("GET", f"/v1/tasks/{TASK}", "root")
    assert status == 200
    assert (task["state"], task["final"], task["reason"], task["config"]) == ("rejected", True, MESSAGE, CONFIGS[case])
    assert [event["state"] for event in task["history"]] == ["accepted", "rejected"]
    listed = (await house.call("GET", f"{routes.TASKS}?state=rejected", "root"))[1]["tasks"]
    rows = (await house.call("GET", "/tasks/", "root"))[1]
    assert [row["task_id"] for row in (*listed, *rows)] == [TASK, TASK]
    for row in rows:
        assert row["experiment_name"] in (None, "wine quality")
        assert row["dataset_name"] in (None, "wine")
    assert (await house.call("GET", f"/job_status/{TASK}", "root"))[1]["job_status"] == f"FAILED: rejected, {MESSAGE}"
    assert (await house.call("GET", f"/task/{TASK}", "root"))[0] == 200
    assert (await house.call("POST", f"/v1/tasks/{TASK}/cancel", "root"))[0] == 409


@pytest.mark.parametrize(("unix_user", "seen_by"), [("alice", {"alice", "root"}), ("svc", {"root"})])
async def test_what_is_dropped_at_a_shared_agent_is_of_its_unix_user(
    tmp_path: Path, unix_user: str, seen_by: set[str]
) -> None:
    async with open_house(tmp_path, unix_user=unix_user) as house:
        assert await house.agent.report(TASK, "rejected", manifest=manifest({})) == ["taken"]
        answers = {who: await house.call("GET", f"/v1/tasks/{TASK}", who) for who in house.tokens}

    assert {who for who, (status, _) in answers.items() if status == 200} == seen_by
    assert answers["root"][1]["owner"] == unix_user


async def test_a_drop_is_of_the_agents_unix_user_whomever_it_names(house: House) -> None:
    assert await house.agent.report(TASK, "running", manifest=manifest(config(), owner="bob", fault="")) == ["taken"]

    assert (await house.call("GET", f"/v1/tasks/{TASK}", "bob"))[0] == 404
    assert (await house.call("GET", f"/v1/tasks/{TASK}", "root"))[1]["owner"] == "svc"
