"""Fault 3.17: a token that ended during --wait did not say that the task goes on; wait() had no timeout.

A user who waits for a night and finds an error expects to read what became of the task, and how to go on watching. A
program that waits expects to say for how long.
"""

import asyncio
import math
from pathlib import Path

import pytest

from mltm.contract.states import State
from mltm.contract.user_api import TaskAnswer
from mltm.notebook import SyncClient
from mltm.wire.errors import MltmError
from mltm.wire.retry_policy import RetryPolicy
from mltm.wire.waiting import WaitTimeoutError
from tests.mltm.cli.run import Mltm
from tests.mltm.client.build import INSTANT, open_client, write_submission
from tests.mltm.client.fake_gateway import TASK_ID, FakeGateway, Fault, Log, build_task

SUBMITTED = TASK_ID[:-1] + "0"
NO_PATIENCE = RetryPolicy(request_s=0, waiting_s=0, sleep=INSTANT.sleep)
# What ends the waiting: status, message, exit code.
ENDS = {
    "3.17: the token ended": (401, "The token has ended.", 77),
    "3.17: the account was removed": (403, "Not allowed.", 77),
    "3.17: the gateway fails": (500, "It broke.", 70),
    "3.17: the gateway stays away": (503, "It is starting.", 69),
    "3.17: too many requests": (429, "Too many requests.", 69),
    "3.17: a proxy in between": (502, "Bad gateway.", 69),
}


def spoil(task_id: str, status: int, detail: str, path: str = "") -> Fault:
    return Fault("GET", f"/v1/tasks/{task_id}{path}", status=status, detail=detail)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("command", ["status", "cancel", "submit"])
@pytest.mark.parametrize(("status", "detail", "code"), ENDS.values(), ids=ENDS)
def test_the_command_says_that_the_task_goes_on(
    mltm: Mltm, gateway: FakeGateway, tmp_path: Path, command: str, status: int, detail: str, code: int, as_json: bool
) -> None:
    task_id = SUBMITTED if command == "submit" else TASK_ID
    gateway.looks[TASK_ID] = [build_task(State.RUNNING)]
    gateway.faults = [spoil(task_id, status, detail)]
    arguments = write_submission(tmp_path) if command == "submit" else (TASK_ID,)
    ran = mltm("--patience", "0", command, *arguments, "--wait", *(("--json",) if as_json else ()))
    assert ran.code == code
    assert detail in ran.err
    again = f"Only the watching has ended: task {task_id} goes on. To watch it again: mltm status {task_id} --wait"
    assert again in ran.err
    assert ("Run `mltm login`. Only" in ran.err) == (status == 401)


@pytest.mark.parametrize(("status", "detail", "code"), ENDS.values(), ids=ENDS)
def test_following_a_log_says_so_too(mltm: Mltm, gateway: FakeGateway, status: int, detail: str, code: int) -> None:
    gateway.looks[TASK_ID] = [build_task(State.RUNNING)]
    gateway.logs = {1: [Log(((0, b"one"),), final=False)]}
    gateway.faults = [spoil(TASK_ID, status, detail, "/log")]
    ran = mltm("--patience", "0", "log", TASK_ID, "-f")
    assert ran.code == code
    assert f"task {TASK_ID} goes on. To watch it again: mltm log {TASK_ID} -f" in ran.err


@pytest.mark.parametrize(("status", "detail", "code"), ENDS.values(), ids=ENDS)
def test_python_says_so_too(gateway: FakeGateway, status: int, detail: str, code: int) -> None:
    gateway.looks[TASK_ID] = [build_task(State.RUNNING)]
    with SyncClient(open_client(gateway, retry_policy=NO_PATIENCE)) as client:
        gateway.faults = [spoil(TASK_ID, status, detail)]
        with pytest.raises(MltmError, match=f"{detail} .*Only the watching has ended: task {TASK_ID} goes on"):
            client.wait(TASK_ID)
        gateway.faults = [spoil(TASK_ID, status, detail)]
        with pytest.raises(MltmError, match=f"task {TASK_ID} goes on"):
            list(client.follow_log(TASK_ID))


def test_a_task_that_is_not_there_does_not_go_on(mltm: Mltm) -> None:
    ran = mltm("status", TASK_ID, "--wait")
    assert ran.code == 2
    assert "goes on" not in ran.err


@pytest.mark.parametrize("state", [State.ACCEPTED, State.PENDING, State.RUNNING, State.FINISHING, State.SUBMITTING])
async def test_waiting_ends_after_the_time_that_was_given(gateway: FakeGateway, state: State) -> None:
    gateway.looks[TASK_ID] = [build_task(state)]
    async with open_client(gateway) as client:
        with pytest.raises(WaitTimeoutError, match=f"not ended within 0.3 s. It is {state.value}. The task goes on"):
            await client.wait(TASK_ID, timeout_s=0.3)
        assert (await client.task(TASK_ID)).state is state


def test_the_notebook_waits_as_long(gateway: FakeGateway) -> None:
    gateway.looks[TASK_ID] = [build_task(State.RUNNING)]
    with SyncClient(open_client(gateway)) as client:
        with pytest.raises(WaitTimeoutError) as told:
            client.wait(TASK_ID, timeout_s=0.2)
        gateway.looks[TASK_ID] = [build_task(State.RUNNING), build_task(State.SUCCEEDED)]
        assert client.wait(TASK_ID, timeout_s=30).state is State.SUCCEEDED
    assert told.value.key == "wait_timeout"


async def test_a_gateway_that_stays_away_does_not_make_it_longer(gateway: FakeGateway) -> None:
    gateway.looks[TASK_ID] = [build_task(State.RUNNING)]
    gateway.faults = [spoil(TASK_ID, 503, "It is starting.") for _ in range(100_000)]
    patient = RetryPolicy(waiting_s=600, sleep=lambda _: asyncio.sleep(0.01))
    async with open_client(gateway, retry_policy=patient) as client:
        with pytest.raises(WaitTimeoutError, match=r"has not ended within 0\.3 s\. The task goes on"):
            await client.wait(TASK_ID, timeout_s=0.3)


async def test_a_timeout_of_the_callers_own_stays_his(gateway: FakeGateway) -> None:
    gateway.looks[TASK_ID] = [build_task(State.RUNNING)]

    def fail(_: TaskAnswer) -> None:
        raise TimeoutError("mine")

    async with open_client(gateway) as client:
        with pytest.raises(TimeoutError, match="mine"):
            await client.wait(TASK_ID, fail, timeout_s=30)


@pytest.mark.parametrize("timeout_s", [0, -1, math.nan, -math.inf, 0.0])
async def test_a_time_in_which_nothing_can_be_read_is_refused(gateway: FakeGateway, timeout_s: float) -> None:
    async with open_client(gateway) as client:
        with pytest.raises(ValueError, match="timeout_s has to be more than 0"):
            await client.wait(TASK_ID, timeout_s=timeout_s)
    assert gateway.seen == []


@pytest.mark.parametrize("timeout_s", [None, math.inf, 1e9, 60, 5])
async def test_within_the_time_the_end_is_returned(gateway: FakeGateway, timeout_s: float | None) -> None:
    gateway.looks[TASK_ID] = [build_task(State.RUNNING), build_task(State.FAILED)]
    async with open_client(gateway) as client:
        assert (await client.wait(TASK_ID, timeout_s=timeout_s)).state is State.FAILED
