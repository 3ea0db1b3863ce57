from pathlib import Path

import pytest

from mltm.client import Client
from mltm.contract.problems import FieldProblem
from mltm.contract.states import State
from mltm.wire.errors import MltmError, UnreachableError
from mltm.wire.retry_policy import RetryPolicy
from tests.mltm.client.build import CONFIG, INSTANT, open_client, write_submission
from tests.mltm.client.fake_gateway import TASK_ID, FakeGateway, Fault, build_task

TASKS = ("POST", "/v1/tasks")


async def test_submission_whose_answer_was_lost_is_repeated_with_the_same_key(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    config, script = write_submission(tmp_path)
    gateway.faults = [Fault(*TASKS, kind="break"), Fault(*TASKS, status=503)]
    async with open_client(gateway) as client:
        task = await client.submit(config, script)
    keys = [seen.headers["Idempotency-Key"] for seen in gateway.asked(*TASKS)]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert gateway.keys == {keys[0]: task.task_id}


async def test_every_repetition_carries_the_whole_body(gateway: FakeGateway, tmp_path: Path) -> None:
    config, script = write_submission(tmp_path)
    extra = tmp_path / "data.bin"
    extra.write_bytes(b"\x00\xff" * 700_000)
    gateway.faults = [Fault(*TASKS, status=502)]
    async with open_client(gateway) as client:
        await client.submit(config, script, [extra])
    first, second = gateway.asked(*TASKS)
    assert first.parts == second.parts
    assert second.parts == [
        ("config", "config.json", config.read_bytes()),
        ("script", "train.py", script.read_bytes()),
        ("files", "data.bin", extra.read_bytes()),
    ]


async def test_two_submissions_have_two_keys_and_a_given_key_is_sent_as_it_is(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    _, script = write_submission(tmp_path)
    async with open_client(gateway) as client:
        first, second = await client.submit(CONFIG, script), await client.submit(CONFIG, script)
        third = await client.submit(CONFIG, script, idempotency_key="mine")
        again = await client.submit(CONFIG, script, idempotency_key="mine")
    assert len({first.task_id, second.task_id, third.task_id}) == 3
    assert again.task_id == third.task_id
    assert "mine" in gateway.keys


async def test_retry_after_is_obeyed_and_told(gateway: FakeGateway) -> None:
    slept: list[float] = []

    async def sleep(delay_s: float) -> None:
        slept.append(delay_s)

    gateway.faults = [Fault("GET", "/v1/me", status=429, headers={"Retry-After": "7"})]
    told: list[float] = []
    policy = RetryPolicy(sleep=sleep, jitter=lambda: 1.0)
    async with Client(gateway.url, "test-token", retry_policy=policy, on_retry=lambda _, s: told.append(s)) as client:
        me = await client.whoami()
    assert me.username == "ada"
    assert slept == told == [7.0]


async def test_patience_ends_and_the_error_says_which_key_to_use(gateway: FakeGateway, tmp_path: Path) -> None:
    config, script = write_submission(tmp_path)
    gateway.faults = [Fault(*TASKS, status=503, detail="The disk is full.")]
    hurried = RetryPolicy(request_s=0.0, sleep=INSTANT.sleep)
    async with open_client(gateway, policy=hurried) as client:
        with pytest.raises(UnreachableError, match=r"The disk is full\..*same key, my-key-1") as caught:
            await client.submit(config, script, idempotency_key="my-key-1")
    assert caught.value.problem.status == 503
    assert len(gateway.asked(*TASKS)) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 500])
async def test_a_refusal_is_not_repeated_and_keeps_its_fields(gateway: FakeGateway, status: int) -> None:
    field = FieldProblem(field="clusters.atena02", given="'gpux'", allowed="one of cpu, gpu", hint="Did you mean gpu?")
    gateway.faults = [Fault("GET", "/v1/me", status=status, detail="No.", next_step="Ask.", fields=(field,))]
    async with open_client(gateway) as client:
        with pytest.raises(MltmError) as caught:
            await client.whoami()
    assert str(caught.value) == "No. clusters.atena02: one of cpu, gpu (given: 'gpux'). Did you mean gpu? Ask."
    assert caught.value.problem.fields == [field]
    assert len(gateway.seen) == 1


async def test_making_a_token_is_not_repeated_once_it_was_sent(gateway: FakeGateway) -> None:
    gateway.faults = [Fault("POST", "/v1/tokens", kind="break")]
    async with open_client(gateway) as client:
        with pytest.raises(UnreachableError, match="broke"):
            await client.create_token("laptop")
    assert len(gateway.asked("POST", "/v1/tokens")) == 1


async def test_watching_outlives_a_gateway_that_is_away_for_a_while(gateway: FakeGateway) -> None:
    gateway.looks[TASK_ID] = [build_task(State.RUNNING), build_task(State.SUCCEEDED)]
    gateway.faults = [Fault("GET", f"/v1/tasks/{TASK_ID}", kind="break") for _ in range(3)]
    states: list[str] = []
    async with open_client(gateway) as client:
        task = await client.wait(TASK_ID, on_change=lambda task: states.append(task.state.value))
    assert task.state is State.SUCCEEDED
    assert states[-1] == "succeeded"
