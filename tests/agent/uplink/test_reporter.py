"""The loop that empties the outbox: what becomes of each report."""

from contextlib import AsyncExitStack
from typing import Any

import pytest
from aioresponses import aioresponses

from agent.uplink.client import GatewayClient
from agent.uplink.generation import GenerationWatch
from mltm.contract import routes
from mltm.contract.ids import TaskId
from mltm.runtime import files
from tests.agent.uplink.build import GENERATION, TASK, URL, UplinkKit, answer

REPORTS = URL + routes.AGENT_REPORTS
OTHER = TaskId("0" * 31 + "2")


async def test_everything_is_sent_oldest_first_in_batches_of_200(
    uplink: UplinkKit, client: GatewayClient, gateway: aioresponses
) -> None:
    uplink.put(450)
    batches = answer(gateway)
    await uplink.reporter(client).flush()
    assert [(batch[0], batch[-1]) for batch in batches] == [(1, 200), (201, 400), (401, 450)]
    assert uplink.waiting() == []


async def test_a_batch_is_bounded_in_bytes_and_a_large_report_goes_alone(
    uplink: UplinkKit, client: GatewayClient, gateway: aioresponses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.uplink.reporter.BATCH_BYTES", 4_500)
    for length in (1000, 1000, 1000, 1000, 7000, 1000):
        uplink.put(message="x" * length)
    batches = answer(gateway)
    await uplink.reporter(client).flush()
    assert batches == [[1, 2, 3], [4], [5], [6]]
    assert uplink.waiting() == []


@pytest.mark.parametrize("outcome", ["taken", "known"])
async def test_what_the_gateway_has_leaves_the_outbox(
    uplink: UplinkKit, client: GatewayClient, gateway: aioresponses, outcome: str
) -> None:
    uplink.put(2)
    answer(gateway, lambda _: outcome)
    await uplink.reporter(client).flush()
    assert (uplink.waiting(), uplink.set_aside()) == ([], {})


@pytest.mark.parametrize("outcome", ["conflict", "refused"])
async def test_what_it_will_never_take_is_set_aside_with_its_words_and_shown_until_it_is_moved_away(
    uplink: UplinkKit, client: GatewayClient, gateway: aioresponses, outcome: str
) -> None:
    uplink.put(3)
    answer(gateway, lambda report: outcome if report["seq"] == 2 else "taken")
    reporter = uplink.reporter(client)
    await reporter.flush()
    name = "0000000001-000000000002.json"
    assert uplink.waiting() == []
    assert uplink.set_aside() == {name: f"The gateway answered {outcome}: because\n"}
    (shown,) = uplink.alerts.sentences()
    assert "refused 1 reports" in shown
    assert name in shown

    (uplink.spool.bad / name).unlink()
    await reporter.flush()
    assert uplink.alerts.sentences() == []


async def test_what_cannot_be_set_aside_stays_and_is_not_sent_round_and_round(
    uplink: UplinkKit, client: GatewayClient, gateway: aioresponses, monkeypatch: pytest.MonkeyPatch
) -> None:
    uplink.put(1)
    batches = answer(gateway, lambda _: "refused")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "replace", full)
        await uplink.reporter(client).flush()
    assert (batches, uplink.waiting()) == ([[1]], [1])


async def test_an_event_without_an_outcome_stays(
    uplink: UplinkKit, client: GatewayClient, gateway: aioresponses
) -> None:
    uplink.put(3)
    answer(gateway, lambda report: None if report["seq"] == 2 else "taken", repeat=1)
    assert await uplink.reporter(client).send_batch() == 2
    assert uplink.waiting() == [2]


async def test_an_outcome_of_what_was_not_sent_changes_nothing(
    uplink: UplinkKit, client: GatewayClient, gateway: aioresponses
) -> None:
    uplink.put(1)
    outcome = {"epoch": 1, "seq": 99, "outcome": "refused", "message": "?"}
    gateway.post(REPORTS, payload={"generation": GENERATION, "outcomes": [outcome, outcome]})
    assert await uplink.reporter(client).send_batch() == 0
    assert (uplink.waiting(), uplink.set_aside()) == ([1], {})


async def test_a_generation_that_changes_mid_batch_settles_the_batch_and_reports_all_again(
    uplink: UplinkKit, stack: AsyncExitStack, gateway: aioresponses
) -> None:
    async def tell_all() -> None:
        uplink.put(2, message="again")

    watch = GenerationWatch(uplink.spool.agent / "generation", tell_all, uplink.alerts, uplink.clock)
    client = await uplink.open_client(stack, watch.compare)
    await watch.compare("before")
    assert uplink.waiting() == [1, 2]
    batches = answer(gateway)  # its generation is another
    await uplink.reporter(client).flush()
    assert batches == [[1, 2], [3, 4]]
    assert uplink.waiting() == []


async def test_a_task_that_the_gateway_forgot_keeps_its_reports_until_its_manifest_was_taken(
    uplink: UplinkKit, stack: AsyncExitStack, gateway: aioresponses
) -> None:
    uplink.put(2)
    uplink.put(1, OTHER)
    known = {OTHER}

    def judge(report: dict[str, Any]) -> str:
        if report.get("message") == "again":
            known.add(report["task_id"])
        return "taken" if report["task_id"] in known else "unknown_task"

    async def tell_all() -> None:
        uplink.put(1, message="again")

    batches = answer(gateway, judge)
    watch = GenerationWatch(uplink.spool.agent / "generation", tell_all, uplink.alerts, uplink.clock)
    client = await uplink.open_client(stack, watch.compare)
    await uplink.reporter(client).flush()
    assert batches == [[1, 2, 3], [4], [1, 2]]
    assert (uplink.waiting(), uplink.set_aside(), uplink.alerts.sentences()) == ([], {}, [])


async def test_a_task_that_stays_unknown_is_told_again_once_and_shown_and_keeps_nobody_waiting(
    uplink: UplinkKit, client: GatewayClient, gateway: aioresponses
) -> None:
    uplink.put(1)
    told: list[str] = []

    async def tell_again(tasks: Any) -> None:
        told.extend(tasks)

    batches = answer(gateway, lambda report: "taken" if report["task_id"] == OTHER else "unknown_task")
    reporter = uplink.reporter(client, tell_again)
    await reporter.flush()
    uplink.put(1, OTHER)
    await reporter.flush()
    assert (batches, told, uplink.waiting()) == ([[1], [2]], [TASK], [1])
    (shown,) = uplink.alerts.sentences()
    assert "does not know 1 tasks" in shown
    assert "mltm-gateway restored" in shown


async def test_a_task_that_is_told_again_is_healed_without_a_new_generation(
    uplink: UplinkKit, client: GatewayClient, gateway: aioresponses
) -> None:
    uplink.put(1)
    known: set[str] = set()

    def judge(report: dict[str, Any]) -> str:
        known.update({report["task_id"]} if report.get("message") == "again" else ())
        return "taken" if report["task_id"] in known else "unknown_task"

    async def tell_again(tasks: Any) -> None:
        for task_id in tasks:
            uplink.put(1, task_id, message="again")

    batches = answer(gateway, judge)
    reporter = uplink.reporter(client, tell_again)
    await reporter.flush()
    assert batches == [[1], [2], [1]]
    assert (uplink.waiting(), uplink.alerts.sentences()) == ([], [])
