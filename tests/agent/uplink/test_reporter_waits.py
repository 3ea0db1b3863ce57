"""The loop that empties the outbox: a batch that is refused, a gateway that is away, a credential that was revoked."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from aioresponses import CallbackResult, aioresponses

from agent.errors import GatewayAwayError, RevokedError
from agent.uplink.client import GatewayClient, GatewayRefusedError
from agent.uplink.reporter import REVOKED_WAIT_S
from mltm.contract import routes
from mltm.runtime import files
from tests.agent.uplink.build import GENERATION, URL, EnoughError, UplinkKit, answer, problem

REPORTS = URL + routes.AGENT_REPORTS


@pytest.mark.parametrize("status", [413, 422, 400])
async def test_a_refused_batch_is_halved_to_the_one_bad_event(
    uplink: UplinkKit, client: GatewayClient, gateway: aioresponses, status: int
) -> None:
    uplink.put(10)
    sizes: list[int] = []

    def tell(_: object, **call: Any) -> CallbackResult:
        sent = [report["seq"] for report in json.loads(call["data"])["reports"]]
        sizes.append(len(sent))
        if 7 in sent:
            return CallbackResult(status=status, body=problem(status, "Report 7 is no report."))
        outcomes = [{"epoch": 1, "seq": seq, "outcome": "taken"} for seq in sent]
        return CallbackResult(payload={"generation": GENERATION, "outcomes": outcomes})

    gateway.post(REPORTS, callback=tell, repeat=True)
    await uplink.reporter(client).flush()
    assert uplink.waiting() == []
    ((name, message),) = uplink.set_aside().items()
    assert name == "0000000001-000000000007.json"
    assert "Report 7 is no report." in message
    assert sizes[:2] == [10, 5]
    assert len(sizes) < 15


async def test_a_page_of_something_between_throws_no_report_out(
    uplink: UplinkKit, client: GatewayClient, gateway: aioresponses
) -> None:
    uplink.put(3)
    gateway.post(REPORTS, status=400, body="<html>Bad Request</html>", repeat=True)
    with pytest.raises(GatewayRefusedError):
        await uplink.reporter(client).flush()
    assert (uplink.waiting(), uplink.set_aside()) == ([1, 2, 3], {})


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        ({"exception": TimeoutError()}, "did not answer within 60 s"),
        ({"exception": ConnectionRefusedError(111, "Connection refused")}, "Cannot reach"),
        ({"status": 500, "body": problem(500, "Broken.")}, "answered 500: Broken."),
        ({"status": 502, "body": "<html>", "reason": "Bad Gateway"}, "answered 502: Bad Gateway"),
        ({"status": 404, "body": "<html>", "reason": "Not Found"}, "refused the call (404)"),
        ({"body": "{}"}, "did not respond like a compatible gateway"),
    ],
)
async def test_while_the_gateway_is_away_everything_waits_and_it_is_shown_until_it_is_back(
    uplink: UplinkKit, client: GatewayClient, gateway: aioresponses, fault: dict[str, Any], shown: str
) -> None:
    uplink.put(3)
    gateway.post(REPORTS, **fault)
    reporter = uplink.reporter(client)
    with pytest.raises((GatewayAwayError, GatewayRefusedError)):
        await reporter.send_batch()
    assert uplink.waiting() == [1, 2, 3]
    (sentence,) = uplink.alerts.sentences()
    assert shown in sentence
    answer(gateway)
    await reporter.flush()
    assert (uplink.waiting(), uplink.alerts.sentences()) == ([], [])


async def test_the_loop_waits_longer_each_time_obeys_retry_after_and_starts_again_after_a_success(
    uplink: UplinkKit, client: GatewayClient, gateway: aioresponses
) -> None:
    uplink.put(2)
    for _ in range(3):
        gateway.post(REPORTS, status=503)
    gateway.post(REPORTS, status=429, headers={"Retry-After": "100"})
    answer(gateway, lambda report: "taken" if report["seq"] == 1 else None, repeat=1)
    for _ in range(2):
        gateway.post(REPORTS, status=503)
    uplink.max_sleeps = 6
    with pytest.raises(EnoughError):
        await uplink.reporter(client).run()
    assert [round(wait) for wait in uplink.slept] == [1, 2, 4, 100, 1, 2]


async def test_a_revoked_agent_goes_on_slowly_and_heals_when_enrolled_again(
    uplink: UplinkKit, client: GatewayClient, gateway: aioresponses, monkeypatch: pytest.MonkeyPatch
) -> None:
    uplink.put(2)
    seen: list[str] = []

    def tell(_: object, **call: Any) -> CallbackResult:
        seen.append(call["headers"]["Authorization"])
        if seen[-1] != "Bearer new":
            return CallbackResult(status=401, body=problem(401, "This agent credential was revoked.", "Enrol again."))
        outcomes = [{"epoch": 1, "seq": seq, "outcome": "taken"} for seq in (1, 2)]
        return CallbackResult(payload={"generation": GENERATION, "outcomes": outcomes})

    gateway.post(REPORTS, callback=tell, repeat=True)
    reporter = uplink.reporter(client)

    def look(_: float) -> None:
        (shown,) = uplink.alerts.sentences()
        assert "was revoked. Enrol again." in shown
        if len(uplink.slept) == 3:
            uplink.enrol("new")
            monkeypatch.setattr(uplink.outbox, "remove", _stop_after(uplink.outbox.remove))

    uplink.on_sleep = look
    with pytest.raises(EnoughError):
        await reporter.run()
    assert uplink.slept == [REVOKED_WAIT_S] * 3
    assert uplink.waiting() == []
    assert uplink.alerts.sentences() == []


def _stop_after(remove: Callable[[Any], None]) -> Callable[[Any], None]:
    def step(reports: Any) -> None:
        remove(reports)
        (report,) = reports
        if report.seq == 2:
            raise EnoughError

    return step


async def test_a_revoked_credential_takes_nothing_out_of_the_outbox(
    uplink: UplinkKit, client: GatewayClient, gateway: aioresponses
) -> None:
    uplink.put(2)
    gateway.post(REPORTS, status=403, repeat=True)
    with pytest.raises(RevokedError):
        await uplink.reporter(client).flush()
    assert (uplink.waiting(), uplink.set_aside()) == ([1, 2], {})


async def test_an_outbox_that_cannot_be_read_is_shown_until_it_can(
    uplink: UplinkKit, client: GatewayClient, gateway: aioresponses, monkeypatch: pytest.MonkeyPatch
) -> None:
    uplink.put(1)
    answer(gateway)
    uplink.max_sleeps = 2
    reporter = uplink.reporter(client)

    def stale(*_: object) -> list[str]:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(files, "list_names", stale)
        with pytest.raises(EnoughError):
            await reporter.run()
    assert [round(wait) for wait in uplink.slept] == [1, 2]
    assert uplink.alerts.sentences() == ["Cannot read the outbox: [Errno 5] Input/output error."]
    await reporter.flush()
    assert (uplink.waiting(), uplink.alerts.sentences()) == ([], [])
