"""One report breaks nobody's list: what cannot be right is refused, texts are cut, bad rows are shown in part."""

import json
from typing import Any

import pytest

from gateway.store.models import Attempt, StoredReport, Task
from mltm.contract import routes
from mltm.contract.limits import MAX_LINE_BYTES, MAX_MESSAGE_BYTES
from tests.gateway.agent import START
from tests.gateway.fixtures import House

DIGITS = "9" * 5000
MODELS: tuple[Any, ...] = (Attempt, StoredReport)
FILE = {"path": "p", "size": 1, "modified_at": START.isoformat()}


async def post(house: House, path: str, raw: str) -> tuple[int, Any]:
    """Send JSON as it stands: json= would not write what is no JSON."""
    headers = {**house.agent.headers, "Content-Type": "application/json"}
    return await house.call("POST", path, None, data=raw, headers=headers)


async def read_all(house: House, task_id: str) -> dict[str, Any]:
    """Everything that shows the task; one row of the list."""
    for path in (f"/v1/tasks/{task_id}", f"/task/{task_id}", "/tasks", f"/job_status/{task_id}"):
        assert (await house.call("GET", path, "root"))[0] == 200, path
    status, page = await house.call("GET", routes.TASKS, "root")
    assert status == 200, page
    (row,) = [task for task in page["tasks"] if task["task_id"] == task_id]
    return dict(row)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("job_id", json.dumps(DIGITS)),
        ("job_id", '""'),
        ("job_id", r'"7\n8"'),
        ("job_id", r'"\u0667"'),
        ("job_id", '"7 or 1=1"'),
        ("exit_code", "9" * 4000),
        ("exit_code", DIGITS),
        ("exit_code", str(2**31)),
        ("signal", str(-(2**63))),
        ("elapsed_s", "NaN"),
        ("elapsed_s", "-Infinity"),
        ("elapsed_s", "1e999"),
        ("attempt", str(2**63)),
        ("seq", str(2**64)),
        ("started_at", '"9999-12-31T23:59:59-14:00"'),
    ],
)
async def test_a_detail_that_cannot_be_right_is_refused_and_no_list_fails(house: House, field: str, value: str) -> None:
    task_id = await house.make_task()
    report = {name: json.dumps(given) for name, given in house.agent.build(task_id, "running", job_id="7").items()}
    body = ", ".join(f'"{name}": {given}' for name, given in {**report, field: value}.items())

    status, problem = await post(house, routes.AGENT_REPORTS, f'{{"reports": [{{{body}}}]}}')

    assert (status, problem["status"]) == (422, 422)
    assert len(json.dumps(problem)) < 2000
    assert (await read_all(house, task_id))["state"] == "accepted"
    assert await house.agent.report(task_id, "running", job_id="7", node="n1", exit_code=0) == ["taken"]
    assert (await read_all(house, task_id))["job_id"] == 7


@pytest.mark.parametrize("job_id", ["7_1", "7+0", "9" * 30])
async def test_a_job_id_that_is_no_plain_number_is_shown_as_text(house: House, job_id: str) -> None:
    task_id = await house.make_task()

    assert await house.agent.report(task_id, "running", job_id=job_id) == ["taken"]

    assert (await read_all(house, task_id))["job_id"] == job_id
    assert (await house.call("GET", f"/task/{job_id}"))[1]["task_id"] == task_id


@pytest.mark.parametrize("text", ["x" * 100_000, "a\x1b[31mred\x00", "ü\U0001f600" * 10_000, "\x9b31m" * 9000])
async def test_texts_for_people_are_cut_and_cleaned_and_never_refused(house: House, text: str) -> None:
    task_id = await house.make_task()
    note = {"kind": "attention", "message": text}

    told = await house.agent.report(task_id, "pending", message=text, node=text, slurm_state=text, note=note)

    assert told == ["taken"]
    row = await read_all(house, task_id)
    attempt = row["attempts"][0]
    for message, max_bytes in (
        (row["reason"], MAX_MESSAGE_BYTES), (row["note"]["message"], MAX_MESSAGE_BYTES),
        (attempt["message"], MAX_MESSAGE_BYTES),
        (attempt["node"], MAX_LINE_BYTES), (attempt["slurm_state"], MAX_LINE_BYTES),
    ):  # fmt: skip
        assert 0 < len(message.encode()) <= max_bytes
        assert message.isprintable()
        assert message[:1] == text[:1] or text[0] == "\x9b"


async def test_a_message_of_several_lines_stays_so(house: House) -> None:
    task_id = await house.make_task()
    await house.agent.report(task_id, "pending", message="one\n\ttwo", node="n\n1")

    (attempt,) = (await read_all(house, task_id))["attempts"]
    assert (attempt["message"], attempt["node"]) == ("one\n\ttwo", "n\ufffd1")


async def test_a_report_that_was_kept_before_there_were_limits_is_known(house: House) -> None:
    task_id = await house.make_task()
    report = house.agent.build(task_id, "pending", message="x" * 100_000)
    assert [each["outcome"] for each in await house.agent.send(report)] == ["taken"]

    def age() -> None:
        StoredReport.update(body=json.dumps(report), sha256="0" * 64).execute()

    await house.in_database(age)

    assert [each["outcome"] for each in await house.agent.send(report)] == ["known"]
    assert [each["outcome"] for each in await house.agent.send({**report, "message": "y"})] == ["conflict"]


async def test_a_bad_detail_that_is_kept_already_is_left_out_and_named(house: House) -> None:
    task_id, other = await house.make_task(), await house.make_task("bob")
    await house.agent.report(task_id, "running", job_id="7", node="n1")

    def spoil() -> None:
        for model in MODELS:
            (row,) = list(model.select())
            model.update(body=json.dumps({**json.loads(row.body), "job_id": DIGITS, "exit_code": 10**400})).execute()

    await house.in_database(spoil)

    (attempt,) = (await read_all(house, task_id))["attempts"]
    assert (attempt["node"], attempt["job_id"], attempt["exit_code"]) == ("n1", None, None)
    assert "exit_code, job_id" in attempt["message"]
    _, whole = await house.call("GET", f"/v1/tasks/{task_id}")
    assert {event["state"] for event in whole["history"]} == {"accepted", "running"}
    assert (await read_all(house, other))["state"] == "accepted"
    # What comes later is merged with it.
    assert await house.agent.report(task_id, "succeeded", job_id="7") == ["taken"]
    assert (await read_all(house, task_id))["job_id"] == 7


@pytest.mark.parametrize(
    "changes",
    [
        {"note": '{"kind": "from a newer version"}'},
        {"note": "no JSON"},
        {"summary": "[]"},
        {"summary": '{"state": 1}'},
        {"config": "{"},
        {"state": "unheard of"},
        {"submitted_at": "yesterday"},
        {"updated_at": "0000-00-00"},
    ],
)
async def test_a_damaged_row_is_shown_in_part(house: House, changes: dict[str, str]) -> None:
    task_id, other = await house.make_task(), await house.make_task("bob")
    await house.agent.report(task_id, "running", job_id="7")
    await house.in_database(lambda: Task.update(**changes).where(Task.task_id == task_id).execute())

    row = await read_all(house, task_id)

    assert (row["owner"], row["final"]) == ("alice", False)
    if "config" not in changes and "note" not in changes:
        assert (row["note"]["kind"], "damaged" in row["note"]["message"]) == ("attention", True)
    assert (await read_all(house, other))["note"]["kind"] == ""


@pytest.mark.parametrize("body", ["{", "[]", '{"attempt": 1, "state": "unheard of"}'])
async def test_a_damaged_attempt_or_report_is_named_and_the_rest_is_shown(house: House, body: str) -> None:
    task_id = await house.make_task()
    await house.agent.report(task_id, "running", job_id="7")

    def spoil() -> None:
        for model in MODELS:
            model.update(body=body).execute()

    await house.in_database(spoil)

    row = await read_all(house, task_id)
    assert (row["state"], [each["attempt"] for each in row["attempts"]]) == ("running", [1])
    assert "damaged" in row["attempts"][0]["message"]
    assert await house.agent.report(task_id, "succeeded", job_id="7") == ["taken"]
    assert (await read_all(house, task_id))["state"] == "succeeded"


@pytest.mark.parametrize(
    ("field", "value"), [("pid", 2**64), ("outbox", -1), ("epoch", 10**400), ("slurm_calls", {"squeue": 2**63})]
)
async def test_a_heartbeats_numbers_have_limits(house: House, field: str, value: object) -> None:
    beat = {"version": "1", "host": "h", "pid": 1, "epoch": 1, "at": START.isoformat(), "active_tasks": 0, "outbox": 0}
    assert (await post(house, routes.AGENT_HEARTBEAT, json.dumps(beat)))[0] == 200

    assert (await post(house, routes.AGENT_HEARTBEAT, json.dumps({**beat, field: value})))[0] == 422


async def test_a_heartbeat_with_many_long_problems_is_taken(house: House) -> None:
    beat = {"version": "1", "host": "h", "pid": 1, "epoch": 1, "at": START.isoformat(), "active_tasks": 0, "outbox": 0}

    assert (await post(house, routes.AGENT_HEARTBEAT, json.dumps({**beat, "problems": ["ü" * 1000] * 50})))[0] == 200


@pytest.mark.parametrize(
    ("outputs", "status"),
    [
        ([FILE] * 10_000, 404),  # of a command that is not there: the list itself will do
        ([{**FILE, "path": "a/" * 4000 + "b"}], 404),
        ([{**FILE, "path": "a\nb"}], 422),
        ([{**FILE, "path": ""}], 422),
        ([{**FILE, "path": "x" * 20_000}], 422),
        ([{**FILE, "path": "\u00fc" * 9_000}], 404),
        ([{**FILE, "path": "\u00fc" * 17_000}], 422),
        ([{**FILE, "size": -1}], 422),
        ([{**FILE, "size": False}], 422),
        ([{**FILE, "size": "1"}], 422),
        ([{**FILE, "size": 2**63}], 422),
    ],
)
async def test_a_list_of_outputs_has_limits_that_honest_agents_keep(
    house: House, outputs: list[dict[str, Any]], status: int
) -> None:
    assert await house.agent.acknowledge("0" * 32, outputs=outputs) == status
