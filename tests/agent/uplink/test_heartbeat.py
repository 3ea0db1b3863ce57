import pytest
from aioresponses import aioresponses

from agent.uplink.client import GatewayClient
from agent.uplink.heartbeat import HeartbeatSender, RoundStatus
from agent.uplink.reporter import REVOKED_WAIT_S
from mltm.contract import routes
from mltm.contract.agent_api import Heartbeat
from mltm.runtime import files
from tests.agent.uplink.build import GENERATION, NOW, URL, Edge, EnoughError, problem

BEAT = URL + routes.AGENT_HEARTBEAT


def build(edge: Edge, client: GatewayClient, last: RoundStatus = RoundStatus()) -> HeartbeatSender:  # noqa: B008
    return HeartbeatSender(client, edge.outbox, edge.board, edge.clock, 7, lambda: {"squeue": 3}, lambda: last)


def sent(gateway: aioresponses) -> list[Heartbeat]:
    calls = [call for calls in gateway.requests.values() for call in calls]
    return [Heartbeat.model_validate_json(call.kwargs["data"]) for call in calls]


async def test_a_beat_says_what_is_wrong_and_what_waits(edge: Edge, client: GatewayClient) -> None:
    edge.put(2)
    edge.board.show("tick", "The disk is full.")
    beat = build(edge, client, RoundStatus(5, ("Slurm is away.",))).build()
    assert (beat.epoch, beat.at, beat.active_tasks, beat.outbox) == (7, NOW, 5, 2)
    assert beat.problems == ["The disk is full.", "Slurm is away."]
    assert beat.slurm_calls == {"squeue": 3}


async def test_a_hundred_problems_do_not_make_a_beat_too_large(edge: Edge, client: GatewayClient) -> None:
    for number in range(100):
        edge.board.show(str(number), f"Problem {number}.")
    assert len(build(edge, client).build().problems) == 50


async def test_a_beat_comes_every_time(edge: Edge, client: GatewayClient, gateway: aioresponses) -> None:
    gateway.post(BEAT, payload={"generation": GENERATION}, repeat=True)
    edge.most_sleeps = 3
    with pytest.raises(EnoughError):
        await build(edge, client).run(30, sleep=edge.sleep)
    assert edge.slept == [30, 30, 30]
    assert len(sent(gateway)) == 3


async def test_a_gateway_that_is_away_is_shown_until_a_beat_arrives(
    edge: Edge, client: GatewayClient, gateway: aioresponses
) -> None:
    gateway.post(BEAT, status=503, headers={"Retry-After": "90"})
    gateway.post(BEAT, status=401, body=problem(401, "It was revoked."))
    gateway.post(BEAT, payload={"generation": GENERATION})
    shown: list[list[str]] = []
    edge.on_sleep = lambda _: shown.append(edge.board.sentences())
    edge.most_sleeps = 3
    with pytest.raises(EnoughError):
        await build(edge, client).run(30, sleep=edge.sleep)
    assert edge.slept == [90, REVOKED_WAIT_S, 30]
    assert ["503" in shown[0][0], "It was revoked." in shown[1][0], shown[2]] == [True, True, []]


async def test_it_does_not_take_down_what_the_reporter_put_up(
    edge: Edge, client: GatewayClient, gateway: aioresponses
) -> None:
    edge.put(1)
    gateway.post(URL + routes.AGENT_REPORTS, status=400)
    gateway.post(BEAT, payload={"generation": GENERATION})
    with pytest.raises(Exception, match="refuses the call"):
        await edge.reporter(client).send_batch()
    edge.most_sleeps = 1
    with pytest.raises(EnoughError):
        await build(edge, client).run(30, sleep=edge.sleep)
    (shown,) = edge.board.sentences()
    assert "refuses the call (400)" in shown


async def test_an_outbox_that_cannot_be_counted_ends_no_pulse(
    edge: Edge, client: GatewayClient, gateway: aioresponses, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(*_: object) -> list[str]:
        raise OSError(116, "Stale file handle")

    edge.most_sleeps = 2
    with monkeypatch.context() as patch:
        patch.setattr(files, "list_names", stale)
        with pytest.raises(EnoughError):
            await build(edge, client).run(30, sleep=edge.sleep)
    assert (edge.slept, sent(gateway)) == ([30, 30], [])
