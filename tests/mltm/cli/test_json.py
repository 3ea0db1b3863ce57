import json
from pathlib import Path

import pytest

from mltm.contract.problems import FieldProblem
from mltm.contract.states import State
from tests.mltm.cli.run import Mltm
from tests.mltm.client.build import write_submission
from tests.mltm.client.fake_gateway import MOMENT, TASK_ID, FakeGateway, Fault, Log, build_task

OTHER_ID = "f" * 32


def test_whoami(mltm: Mltm) -> None:
    assert mltm("whoami", "--json").document == {"username": "ada", "role": "user", "clusters": ["atena02"]}


def test_json_may_stand_before_the_command_too(mltm: Mltm) -> None:
    assert mltm("--json", "whoami").document == mltm("whoami", "--json").document
    assert mltm("--json", "list").document == {"tasks": [], "next": None}
    assert json.loads(mltm("--json", "whoami", MLTM_TOKEN="stale").err)["status"] == 401


def test_submit_prints_the_task(mltm: Mltm, gateway: FakeGateway, tmp_path: Path) -> None:
    ran = mltm("submit", *write_submission(tmp_path), "--key", "k1", "--json")
    assert ran.document["state"] == "accepted"
    assert ran.document["task_id"] == gateway.keys["k1"]
    assert ran.err == ""


def test_submit_and_wait_prints_a_line_for_every_change(mltm: Mltm, gateway: FakeGateway, tmp_path: Path) -> None:
    looks = (State.PENDING, State.PENDING, State.RUNNING, State.FAILED)
    gateway.looks[TASK_ID] = [build_task(state) for state in looks]
    ran = mltm("submit", *write_submission(tmp_path), "--wait", "--json")
    assert [one["state"] for one in ran.documents] == ["pending", "running", "failed"]
    assert (ran.code, ran.err) == (1, "")


def test_list_pages_through_as_many_as_asked_for(mltm: Mltm, gateway: FakeGateway) -> None:
    gateway.looks = {f"{number:032x}": [build_task(State.RUNNING, f"{number:032x}")] for number in range(150)}
    ran = mltm("list", "--limit", 130, "--state", "running", "--json")
    assert [task["task_id"] for task in ran.document["tasks"]] == list(gateway.looks)[:130]
    assert ran.document["next"] == "130"
    assert [(seen.query["limit"], seen.query["state"]) for seen in gateway.seen] == [
        ("100", "running"),
        ("30", "running"),
    ]


def test_status_is_the_gateways_own_document(mltm: Mltm, gateway: FakeGateway) -> None:
    history = [{"at": MOMENT, "state": "accepted", "attempt": None, "message": "", "source": "gateway"}]
    gateway.looks[TASK_ID] = [build_task(State.RUNNING, history=history, config={"model_params": {"n": 2}})]
    document = mltm("status", TASK_ID, "--json").document
    assert document["history"] == history
    assert document["config"] == {"model_params": {"n": 2}}
    assert document["attempts"][0]["job_id"] == "41"


def test_log_is_one_document(mltm: Mltm, gateway: FakeGateway) -> None:
    gateway.logs = {1: [Log(((0, b"a\x1b[31m\xc3"), (7, b"\xa9\xff\n")))]}
    assert mltm("log", TASK_ID, "--json").document == {
        "task_id": TASK_ID, "attempt": None, "size": 10, "final": True, "text": "a\x1b[31m\xe9\ufffd\n",
    }  # fmt: skip


def test_followed_log_is_a_line_a_chunk(mltm: Mltm, gateway: FakeGateway) -> None:
    gateway.looks[TASK_ID] = [build_task(State.SUCCEEDED)]
    gateway.logs = {1: [Log(((0, b"head\n"), (900, b"tail\n")))]}
    assert mltm("log", TASK_ID, "-f", "--json").documents == [
        {"attempt": 1, "offset": 0, "skipped": 0, "size": 905, "text": "head\n"},
        {"attempt": 1, "offset": 900, "skipped": 895, "size": 905, "text": "tail\n"},
    ]


def test_outputs_and_get(mltm: Mltm, gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.outputs = {"metrics.json": b"{}", "plots/a b.png": b"png"}
    listed = mltm("outputs", TASK_ID, "--json").document
    assert [(file["path"], file["size"]) for file in listed["files"]] == [("metrics.json", 2), ("plots/a b.png", 3)]
    fetched = mltm("get", TASK_ID, "plots", "-o", tmp_path / "new", "--json").document
    target = tmp_path / "new" / "plots" / "a b.png"
    assert fetched["files"] == [{"path": "plots/a b.png", "file": str(target), "size": 3}]
    assert target.read_bytes() == b"png"


def test_cancel(mltm: Mltm) -> None:
    assert mltm("cancel", TASK_ID, "--json").document == {
        "task_id": TASK_ID, "state": "running", "cancel_requested": True,
    }  # fmt: skip


@pytest.mark.parametrize(("command", "wish"), [("hold", True), ("release", False)])
def test_hold_and_release(mltm: Mltm, gateway: FakeGateway, command: str, wish: bool) -> None:
    document = mltm(command, TASK_ID, "--json").document
    assert document == {"task_id": TASK_ID, "state": "accepted", "hold_requested": wish}
    said = mltm(command, TASK_ID)
    assert (said.code, said.out, "is recorded" in said.err) == (0, "", True)
    assert len(gateway.asked("POST", f"/v1/tasks/{TASK_ID}/{command}")) == 2


def test_login_and_logout_show_no_token(mltm: Mltm, gateway: FakeGateway) -> None:
    ran = mltm("login", "-u", "ada", "--password-stdin", "--json", stdin="right\n", MLTM_TOKEN=None)
    assert (ran.document["username"], ran.document["url"]) == ("ada", gateway.url)
    assert "test-token" not in ran.out + ran.err
    assert mltm("logout", "--json").document == {"logged_out": True, "token_ended": True}
    assert mltm("logout", "--json").document == {"logged_out": False, "token_ended": False}


def test_passwd_sends_both_passwords_once_and_shows_none(mltm: Mltm, gateway: FakeGateway) -> None:
    ran = mltm("passwd", "--password-stdin", "--json", stdin="right\nfive grey herons\n")
    assert (ran.code, ran.document) == (0, {"password_changed": True})
    assert "herons" not in ran.out + ran.err
    assert len(gateway.asked("PUT", "/v1/me/password")) == 1

    ran = mltm("passwd", "--password-stdin", stdin="wrong\nfive grey herons\n")
    assert (ran.code, ran.err.splitlines()[0]) == (77, "mltm: The current password is wrong.")


def test_an_error_is_one_document_on_stderr(mltm: Mltm, gateway: FakeGateway) -> None:
    field = FieldProblem(field="clusters.atena02", allowed="one of cpu, gpu")
    gateway.faults = [Fault("GET", "/v1/me", status=422, detail="No.", fields=(field,))]
    ran = mltm("whoami", "--json")
    problem = json.loads(ran.err)
    assert (ran.code, ran.out) == (2, "")
    assert (problem["status"], problem["key"], problem["fields"][0]["field"]) == (422, "fault", "clusters.atena02")


def test_trying_again_is_silent(mltm: Mltm, gateway: FakeGateway) -> None:
    gateway.faults = [Fault("GET", "/v1/me", status=503)]
    ran = mltm("whoami", "--json")
    assert (ran.code, ran.err, ran.document["username"]) == (0, "", "ada")


def test_no_escape_gets_into_json(mltm: Mltm, gateway: FakeGateway) -> None:
    gateway.looks[TASK_ID] = [build_task(State.FAILED, reason="\x1b[2J\u202e evil \x9b31m")]
    ran = mltm("status", TASK_ID, "--json")
    assert ran.out.isascii()
    assert "\x1b" not in ran.out
    assert ran.document["reason"] == "\x1b[2J\u202e evil \x9b31m"
