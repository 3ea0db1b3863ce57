from pathlib import Path

import pytest

from mltm.cli import exit_codes
from mltm.contract.states import FINAL, State
from tests.mltm.cli.run import Mltm
from tests.mltm.client.build import write_submission
from tests.mltm.client.fake_gateway import TASK_ID, FakeGateway, Fault, build_task

OF_END = {
    State.SUCCEEDED: 0,
    State.FAILED: 1,
    State.NODE_FAIL: 3,
    State.PREEMPTED: 3,
    State.LOST: 3,
    State.REJECTED: 4,
    State.CANCELLED: 5,
    State.TIMEOUT: 124,
    State.DEADLINE: 124,
    State.OUT_OF_MEMORY: 137,
}


def test_the_table_has_every_end() -> None:
    assert set(OF_END) == set(FINAL)


@pytest.mark.parametrize(("state", "code"), OF_END.items())
def test_waiting_exits_as_the_task_ended(
    mltm: Mltm, gateway: FakeGateway, tmp_path: Path, state: State, code: int
) -> None:
    gateway.looks[TASK_ID] = [build_task(State.RUNNING), build_task(state)]
    ran = mltm("submit", *write_submission(tmp_path), "--wait")
    assert ran.code == code
    assert f"Task {TASK_ID[:-1]}0 {state.value}." in ran.err


@pytest.mark.parametrize("command", ["status", "cancel"])
def test_status_and_cancel_wait_with_the_same_codes(mltm: Mltm, gateway: FakeGateway, command: str) -> None:
    gateway.looks[TASK_ID] = [build_task(State.RUNNING), build_task(State.CANCELLED)]
    assert mltm(command, TASK_ID, "--wait").code == 5


@pytest.mark.parametrize("state", [State.RUNNING, State.FAILED])
def test_without_wait_a_look_is_a_success_whatever_it_shows(mltm: Mltm, gateway: FakeGateway, state: State) -> None:
    gateway.looks[TASK_ID] = [build_task(state)]
    assert mltm("status", TASK_ID).code == 0


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, 2),
        (404, 2),
        (409, 2),
        (422, 2),
        (401, 77),
        (403, 77),
        (429, 69),
        (502, 69),
        (503, 69),
        (504, 69),
        (500, 70),
    ],
)
def test_a_refusal_has_the_code_of_its_kind(mltm: Mltm, gateway: FakeGateway, status: int, code: int) -> None:
    gateway.faults = [Fault("GET", "/v1/me", status=status, detail="No.")]
    ran = mltm("--patience", "0", "whoami")
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("mltm: No.\n")


def test_a_gateway_that_is_away_is_69(mltm: Mltm) -> None:
    assert mltm("--url", "http://127.0.0.1:1", "--patience", "0", "whoami").code == 69


def test_wrong_use_is_2(mltm: Mltm) -> None:
    assert mltm("submit").code == 2
    assert mltm("no-such-command").code == 2
    assert mltm("status", "nonsense!").code == 2


def test_a_config_that_cannot_be_sent_is_2(mltm: Mltm, gateway: FakeGateway, tmp_path: Path) -> None:
    config, script = write_submission(tmp_path)
    assert mltm("submit", tmp_path / "none.json", script).code == 2
    config.write_text("{")
    assert mltm("submit", config, script).code == 2
    assert gateway.seen == []


def test_a_target_that_cannot_be_written_is_74(mltm: Mltm, gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.outputs["metrics.json"] = b"{}"
    (tmp_path / "file").write_text("in the way")
    assert mltm("get", TASK_ID, "-o", tmp_path / "file").code == exit_codes.LOCAL_FILE == 74


def test_not_logged_in_is_77(mltm: Mltm) -> None:
    ran = mltm("whoami", MLTM_TOKEN=None)
    assert ran.code == 77
    assert "Run `mltm login" in ran.err


def test_every_code_has_its_meaning() -> None:
    used = {*OF_END.values(), 2, 66, 69, 70, 74, 77, 125, 130, 141}
    assert set(exit_codes.MEANING) == used
