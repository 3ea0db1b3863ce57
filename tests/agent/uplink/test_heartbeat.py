import pytest
from aioresponses import aioresponses

from agent.uplink.client import GatewayClient
from agent.uplink.heartbeat import HeartbeatSender, RoundStatus
from agent.uplink.reporter import REVOKED_WAIT_S
from mltm.contract import routes
from mltm.contract.agent_api import Heartbeat
from mltm.runtime import files
from tests.agent.uplink.build import GENERATION, NOW, URL, EnoughError, UplinkKit, problem

BEAT = URL + routes.AGENT_HEARTBEAT


def build(uplink: UplinkKit, client: GatewayClient, last: RoundStatus = RoundStatus()) -> HeartbeatSender:  # noqa: B008
    return HeartbeatSender(client, uplink.outbox, uplink.alerts, uplink.clock, 7, lambda: {"squeue": 3}, lambda: last)


def sent(gateway: aioresponses) -> list[Heartbeat]:
    calls = [call for calls in gateway.requests.values() for call in calls]
    return [Heartbeat.model_validate_json(call.kwargs["data"]) for call in calls]


async def test_a_beat_says_what_is_wrong_and_what_waits(uplink: UplinkKit, client: GatewayClient) -> None:
    uplink.put(2)
    uplink.alerts.show("tick", "The disk is full.")
    beat = build(uplink, client, RoundStatus(5, ("Slurm is away.",))).build()
    assert (beat.epoch, beat.at, beat.active_tasks, beat.outbox) == (7, NOW, 5, 2)
    assert beat.problems == ["The disk is full.", "Slurm is away."]
    assert beat.slurm_calls == {"squeue": 3}


async def test_a_hundred_problems_do_not_make_a_beat_too_large(uplink: UplinkKit, client: GatewayClient) -> None:
    for number in range(100):
        uplink.alerts.show(str(number), f"Problem {number}.")
    assert len(build(uplink, client).build().problems) == 50


async def test_a_beat_comes_every_time(uplink: UplinkKit, client: GatewayClient, gateway: aioresponses) -> None:
    gateway.post(BEAT, payload={"generation": GENERATION}, repeat=True)
    uplink.max_sleeps = 3
    with pytest.raises(EnoughError):
        await build(uplink, client).run(30, sleep=uplink.sleep)
    assert uplink.slept == [30, 30, 30]
    assert len(sent(gateway)) == 3


async def test_a_gateway_that_is_away_is_shown_until_a_beat_arrives(
    uplink: UplinkKit, client: GatewayClient, gateway: aioresponses
) -> None:
    gateway.post(BEAT, status=503, headers={"Retry-After": "90"})
    gateway.post(BEAT, status=401, body=problem(401, "It was revoked."))
    gateway.post(BEAT, payload={"generation": GENERATION})
    shown: list[list[str]] = []
    uplink.on_sleep = lambda _: shown.append(uplink.alerts.sentences())
    uplink.max_sleeps = 3
    with pytest.raises(EnoughError):
        await build(uplink, client).run(30, sleep=uplink.sleep)
    assert uplink.slept == [90, REVOKED_WAIT_S, 30]
    assert ["503" in shown[0][0], "It was revoked." in shown[1][0], shown[2]] == [True, True, []]


async def test_it_does_not_take_down_what_the_reporter_put_up(
    uplink: UplinkKit, client: GatewayClient, gateway: aioresponses
) -> None:
    uplink.put(1)
    gateway.post(URL + routes.AGENT_REPORTS, status=400)
    gateway.post(BEAT, payload={"generation": GENERATION})
    with pytest.raises(Exception, match="refused the call"):
        await uplink.reporter(client).send_batch()
    uplink.max_sleeps = 1
    with pytest.raises(EnoughError):
        await build(uplink, client).run(30, sleep=uplink.sleep)
    (shown,) = uplink.alerts.sentences()
    assert "refused the call (400)" in shown


async def test_an_outbox_that_cannot_be_counted_ends_no_pulse(
    uplink: UplinkKit, client: GatewayClient, gateway: aioresponses, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(*_: object) -> list[str]:
        raise OSError(116, "Stale file handle")

    uplink.max_sleeps = 2
    with monkeypatch.context() as patch:
        patch.setattr(files, "list_names", stale)
        with pytest.raises(EnoughError):
            await build(uplink, client).run(30, sleep=uplink.sleep)
    assert (uplink.slept, sent(gateway)) == ([30, 30], [])
