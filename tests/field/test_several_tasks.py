"""Fault 3b.12: `cancel` took one task only.

A user who sees at six trainings that the data are wrong expects to stop all of them with one command, by their ids or
parts of them; a wrong id among them is named and stops none of the others.
"""

import pytest

from mltm.contract.states import State
from tests.mltm.cli.run import Mltm
from tests.mltm.client.fake_gateway import FakeGateway, Fault, build_task

IDS = [f"{number:08x}" + "ab" * 12 for number in range(0x1000, 0x1003)]
COMMANDS = ["cancel", "hold", "release"]
# What is typed, which tasks are changed, the code, a part of the message.
CASES: dict[str, tuple[list[str], list[str], int, str]] = {
    "3b.12: whole ids": (IDS, IDS, 0, f"{IDS[1]}: The "),
    "3b.12: parts of ids": ([one[:8] for one in IDS], IDS, 0, f"{IDS[2]}: The "),
    "3b.12: one task as before": (IDS[:1], IDS[:1], 0, "is recorded"),
    "3b.12: one that is not an id": ([IDS[0], "train.py", IDS[2]], [IDS[0], IDS[2]], 2, "train.py: 'train.py' is not"),
    "3b.12: one that fits none": ([IDS[0], "ffffff", IDS[2]], [IDS[0], IDS[2]], 2, "ffffff: None of your newest"),
    "3b.12: the first one fails": (["x", *IDS[:2]], IDS[:2], 2, "x: 'x' is not a task id"),
    "3b.12: all of them fail": (["x", "ffffff"], [], 2, "ffffff: None of"),
    "3b.12: none is given": ([], [], 2, "Missing argument"),
}


@pytest.fixture(autouse=True)
def tasks(gateway: FakeGateway) -> None:
    gateway.looks = {one: [build_task(State.RUNNING, one)] for one in IDS}


def changed(gateway: FakeGateway, command: str) -> list[str]:
    return [one for one in IDS if gateway.asked("POST", f"/v1/tasks/{one}/{command}")]


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("typed", "expected", "code", "message"), CASES.values(), ids=CASES)
def test_all_of_them_are_changed(
    mltm: Mltm,
    gateway: FakeGateway,
    command: str,
    typed: list[str],
    expected: list[str],
    code: int,
    message: str,
    as_json: bool,
) -> None:
    ran = mltm(command, *typed, *(("--json",) if as_json else ()))
    assert (ran.code, changed(gateway, command)) == (code, expected)
    if as_json:
        assert [document["task_id"] for document in ran.documents] == expected
    if code or not as_json:
        assert message in ran.err


@pytest.mark.parametrize(("status", "code"), [(404, 2), (409, 2), (403, 77), (500, 70)])
@pytest.mark.parametrize("command", COMMANDS)
def test_what_the_gateway_refuses_for_one_stops_no_other(
    mltm: Mltm, gateway: FakeGateway, command: str, status: int, code: int
) -> None:
    gateway.faults = [Fault("POST", f"/v1/tasks/{IDS[0]}/{command}", status=status, detail="Not this one.")]
    ran = mltm(command, *IDS)
    assert ran.code == code
    assert f"mltm: {IDS[0]}: Not this one." in ran.err
    assert ran.err.count("is recorded") == 2


@pytest.mark.parametrize(("status", "code"), [(401, 77), (503, 69), (429, 69)])
def test_a_gateway_that_is_away_ends_it_and_the_rest_is_named(
    mltm: Mltm, gateway: FakeGateway, status: int, code: int
) -> None:
    gateway.faults = [Fault("POST", f"/v1/tasks/{IDS[1]}/cancel", status=status, detail="No.")]
    ran = mltm("--patience", "0", "cancel", *IDS)
    assert ran.code == code
    assert f"Not done: {IDS[1]}, {IDS[2]}." in ran.err


def test_waiting_waits_for_all(mltm: Mltm, gateway: FakeGateway) -> None:
    ends = [State.CANCELLED, State.SUCCEEDED, State.CANCELLED]
    gateway.looks = {
        one: [build_task(State.RUNNING, one), build_task(end, one)] for one, end in zip(IDS, ends, strict=True)
    }
    ran = mltm("cancel", *IDS, "--wait")
    assert ran.code == 5
    for one, end in zip(IDS, ends, strict=True):
        assert f"Task {one} {end.value}." in ran.err
