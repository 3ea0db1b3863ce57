"""The long poll and its commands: all of them are done, in the right order, and only then acknowledged."""

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aioresponses import CallbackResult, aioresponses

from agent.errors import GatewayAwayError
from agent.spool.commands import record_command
from agent.spool.records import read_journal
from agent.uplink import command_poller, task_files
from agent.uplink.client import GatewayClient, GatewayRefusedError
from agent.uplink.command_gate import CommandGate
from agent.uplink.command_poller import CommandPoller
from agent.uplink.log_reader import read_log_bytes
from agent.uplink.reporter import REVOKED_WAIT_S
from mltm.contract import routes
from mltm.contract.agent_api import POLL_WAIT_S
from mltm.contract.spool_layout import TaskFolder
from mltm.runtime import files
from tests.agent.uplink.build import GENERATION, TASK, URL, EnoughError, UplinkKit, problem

POLL = re.compile(re.escape(f"{URL}{routes.AGENT_COMMANDS}?wait=") + "(0|25)")


def command(kind: str, command_id: str = "c1", **fields: object) -> dict[str, object]:
    return {"command_id": command_id, "kind": kind, "task_id": TASK, "by": "maria", **fields}


def bring(gateway: aioresponses, *commands: dict[str, object], times: int = 1) -> None:
    for _ in range(times):
        gateway.get(POLL, payload={"generation": GENERATION, "commands": list(commands)})


class Answers:
    """Takes acknowledgements and bytes; notes down what was on disk when each came."""

    def __init__(self, uplink: UplinkKit, gateway: aioresponses, *ids: str, status: int = 200) -> None:
        self.uplink, self.status = uplink, status
        self.acks: dict[str, list[dict[str, Any]]] = {}
        self.data: dict[str, bytes] = {}
        self.was_cancelled: list[bool] = []
        for one in ids or ("c1",):
            gateway.post(URL + routes.AGENT_ACK.format(command_id=one), callback=self._ack, repeat=True)
            gateway.put(URL + routes.AGENT_BYTES.format(command_id=one), callback=self._bytes, repeat=True)

    def _ack(self, url: Any, **call: Any) -> CallbackResult:
        self.was_cancelled.append(read_journal(self.uplink.spool, TASK).cancel is not None)
        self.acks.setdefault(url.parts[-2], []).append(json.loads(call["data"]))
        return self._answer()

    def _bytes(self, url: Any, **call: Any) -> CallbackResult:
        self.data[url.parts[-2]] = call["data"]
        return self._answer()

    def _answer(self) -> CallbackResult:
        if self.status == 200:
            return CallbackResult(payload={"generation": GENERATION})
        return CallbackResult(status=self.status, body=problem(self.status, "No."))


@pytest.fixture
def woken() -> list[bool]:
    return []


@pytest.fixture
def gate(uplink: UplinkKit) -> CommandGate:
    """Of an agent that is in contact."""
    gate = CommandGate(uplink.clock)
    gate.note_answer()
    return gate


@pytest.fixture
def polls(uplink: UplinkKit, client: GatewayClient, woken: list[bool], gate: CommandGate) -> CommandPoller:
    return CommandPoller(uplink.spool, client, uplink.clock, lambda: woken.append(True), gate, sleep=uplink.sleep)


@pytest.fixture
def folder(uplink: UplinkKit) -> TaskFolder:
    found = uplink.spool.task(TASK)
    for part in found.folders:
        part.mkdir(parents=True)
    return found


async def test_a_cancel_is_on_disk_before_it_is_acknowledged_and_wakes_the_tick(
    uplink: UplinkKit, polls: CommandPoller, gateway: aioresponses, woken: list[bool]
) -> None:
    bring(gateway, command("cancel"))
    answers = Answers(uplink, gateway)
    assert await polls.poll_once(POLL_WAIT_S) == 1
    assert [ack["outcome"] for ack in answers.acks["c1"]] == ["done"]
    assert (answers.was_cancelled, woken) == ([True], [True])


async def test_a_cancel_that_cannot_be_recorded_is_not_acknowledged_and_done_when_it_comes_again(
    uplink: UplinkKit, polls: CommandPoller, gateway: aioresponses, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(gateway, command("cancel"), times=2)
    answers = Answers(uplink, gateway)

    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "link_once", full)
        with pytest.raises(OSError, match="No space"):
            await polls.poll_once(POLL_WAIT_S)
    assert answers.acks == {}
    await polls.poll_once(POLL_WAIT_S)
    assert answers.was_cancelled == [True]


async def test_a_repeated_command_is_acknowledged_again_and_changes_nothing(
    uplink: UplinkKit, polls: CommandPoller, gateway: aioresponses
) -> None:
    bring(gateway, command("cancel"), command("cancel"), times=2)
    answers = Answers(uplink, gateway)
    await polls.poll_once(POLL_WAIT_S)
    await polls.poll_once(POLL_WAIT_S)
    assert [ack["outcome"] for ack in answers.acks["c1"]] == ["done"] * 4
    cancel = read_journal(uplink.spool, TASK).cancel
    assert cancel is not None
    assert cancel.command_id == "c1"


@pytest.mark.parametrize(
    "raw",
    [
        command("dance"), {"command_id": "c1"}, {"command_id": "c1", "kind": "cancel", "task_id": "../../x"},
        command("send_bytes", offset="far"),
    ],
)  # fmt: skip
async def test_what_is_not_understood_is_refused_in_words(
    uplink: UplinkKit, polls: CommandPoller, gateway: aioresponses, raw: dict[str, object]
) -> None:
    bring(gateway, raw)
    answers = Answers(uplink, gateway)
    await polls.poll_once(POLL_WAIT_S)
    ((ack,),) = answers.acks.values()
    assert ack["outcome"] == "refused"
    assert "Update the agent." in ack["message"]


@pytest.mark.parametrize("command_id", [None, 7, "", "../reports", "a b", "x?y"])
async def test_a_command_id_that_is_no_word_goes_into_no_address(
    uplink: UplinkKit, polls: CommandPoller, gateway: aioresponses, command_id: object
) -> None:
    bring(gateway, {"command_id": command_id, "kind": "dance"})
    assert await polls.poll_once(POLL_WAIT_S) == 1
    assert [key[0] for key in gateway.requests] == ["GET"]


async def test_one_failing_command_stops_no_other(
    uplink: UplinkKit, polls: CommandPoller, gateway: aioresponses, folder: TaskFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(
        gateway,
        command("hold", "c2"),
        command("dance", "c3"),
        command("list_outputs", "c4"),
        command("send_bytes", "c5", file="outputs/none", length=10),
        command("cancel", "c1"),
    )
    answers = Answers(uplink, gateway, "c1", "c2", "c3", "c4", "c5")
    link = files.link_once

    def fail_for_holds(path: Any, *more: Any) -> bytes:
        if path.name.startswith("hold"):
            raise OSError(5, "Input/output error")
        return link(path, *more)

    monkeypatch.setattr(files, "link_once", fail_for_holds)
    with pytest.raises(OSError, match="Input/output error"):
        await polls.poll_once(POLL_WAIT_S)
    told = {one: ack["outcome"] for one, (ack,) in answers.acks.items()}
    assert told == {"c1": "done", "c3": "refused", "c4": "done", "c5": "refused"}


async def test_a_cancel_does_not_wait_behind_a_large_file(
    uplink: UplinkKit, polls: CommandPoller, gateway: aioresponses, folder: TaskFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled_when_read: list[bool] = []

    def read_slowly(*asked: Any) -> Any:
        cancelled_when_read.append(read_journal(uplink.spool, TASK).cancel is not None)
        return read_log_bytes(*asked)

    monkeypatch.setattr(task_files, "read_log_bytes", read_slowly)
    bring(
        gateway,
        *(command("send_bytes", f"b{n}", file="log", attempt=1, length=10) for n in range(3)),
        command("cancel", "c1"),
    )
    Answers(uplink, gateway, "c1", "b0", "b1", "b2")
    with ThreadPoolExecutor(max_workers=1) as only:  # as when all other threads hang in a dead file system
        asyncio.get_running_loop().set_default_executor(only)
        await polls.poll_once(POLL_WAIT_S)
    assert cancelled_when_read == [True] * 3


async def test_bytes_of_a_log_are_brought(
    uplink: UplinkKit, polls: CommandPoller, gateway: aioresponses, folder: TaskFolder
) -> None:
    pieces = folder.attempt_logs(1)
    pieces.mkdir()
    (pieces / "out.000000").write_bytes(b"0123456789")
    bring(gateway, command("send_bytes", file="log", offset=-4, length=3))
    answers = Answers(uplink, gateway)
    await polls.poll_once(POLL_WAIT_S)
    assert (answers.data, answers.acks) == ({"c1": b"678"}, {})


async def test_the_bytes_of_the_newest_log_say_whose_they_are(
    uplink: UplinkKit, polls: CommandPoller, gateway: aioresponses, folder: TaskFolder
) -> None:
    for attempt in (1, 2):
        folder.attempt_logs(attempt).mkdir()
        (folder.attempt_logs(attempt) / "out.000000").write_bytes(b"%d" % attempt)
    bring(gateway, command("send_bytes", file="log", length=3))
    answers = Answers(uplink, gateway)
    await polls.poll_once(POLL_WAIT_S)
    (sent,) = [calls[0] for (method, _), calls in gateway.requests.items() if method == "PUT"]
    assert (answers.data["c1"], sent.kwargs["headers"]["X-Mltm-Attempt"]) == (b"2", "2")


@pytest.mark.parametrize("file", ["", "control/cancel", "outputs/../control/cancel", "/etc/passwd", "log/x"])
async def test_no_other_file_is_brought(
    uplink: UplinkKit, polls: CommandPoller, gateway: aioresponses, folder: TaskFolder, file: str
) -> None:
    bring(gateway, command("send_bytes", file=file, length=10))
    answers = Answers(uplink, gateway)
    await polls.poll_once(POLL_WAIT_S)
    assert (answers.data, answers.acks["c1"][0]["outcome"]) == ({}, "refused")


@pytest.mark.parametrize("status", [404, 409, 410])
@pytest.mark.parametrize("kind", ["cancel", "send_bytes"])
async def test_a_command_that_another_agent_answered_is_done_with(
    uplink: UplinkKit, polls: CommandPoller, gateway: aioresponses, folder: TaskFolder, status: int, kind: str
) -> None:
    bring(gateway, command(kind, file="log", length=1))
    Answers(uplink, gateway, status=status)
    assert await polls.poll_once(POLL_WAIT_S) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_command_that_stays_open_is_not_tried_without_a_pause(
    uplink: UplinkKit, polls: CommandPoller, gateway: aioresponses, folder: TaskFolder, status: int
) -> None:
    bring(gateway, command("cancel"), times=3)
    Answers(uplink, gateway, status=status)
    uplink.max_sleeps = 3
    with pytest.raises(EnoughError):
        await polls.run()
    assert [round(wait) for wait in uplink.slept] == [1, 2, 4]
    assert sum(len(calls) for (method, _), calls in gateway.requests.items() if method == "GET") == 3


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("kind", ["send_bytes", "list_outputs"])
async def test_an_answer_that_the_gateway_does_not_take_closes_the_command_with_a_message(
    uplink: UplinkKit, polls: CommandPoller, gateway: aioresponses, folder: TaskFolder, status: int, kind: str
) -> None:
    bring(gateway, command(kind, file="log", length=1))
    answers = Answers(uplink, gateway, "another")

    def refuse_content(_url: Any, **call: Any) -> CallbackResult:
        if kind == "list_outputs" and json.loads(call["data"])["outcome"] == "refused":
            return answers._ack(_url, **call)
        return CallbackResult(status=status, body=problem(status, "Too large."))

    refused = {"send_bytes": gateway.put, "list_outputs": gateway.post}[kind]
    path = {"send_bytes": routes.AGENT_BYTES, "list_outputs": routes.AGENT_ACK}[kind]
    refused(URL + path.format(command_id="c1"), callback=refuse_content, repeat=True)
    if kind == "send_bytes":
        gateway.post(URL + routes.AGENT_ACK.format(command_id="c1"), callback=answers._ack)

    assert await polls.poll_once(POLL_WAIT_S) == 1
    (ack,) = answers.acks["c1"]
    assert ack["outcome"] == "refused"
    assert f"({status})" in ack["message"]
    assert "Too large." in ack["message"]


@pytest.mark.parametrize("kind", ["send_bytes", "list_outputs"])
async def test_a_question_that_fails_unexpectedly_is_refused_and_stops_no_other(
    uplink: UplinkKit, polls: CommandPoller, gateway: aioresponses, folder: TaskFolder, monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:  # fmt: skip
    def fail(*_: object, **__: object) -> Any:
        raise OverflowError("timestamp out of range")

    monkeypatch.setattr(command_poller, "list_outputs", fail)
    monkeypatch.setattr(command_poller, "read_task_file", fail)
    bring(gateway, command(kind, "c2", file="log", length=1), command("cancel", "c1"))
    answers = Answers(uplink, gateway, "c1", "c2")

    assert await polls.poll_once(POLL_WAIT_S) == 2

    assert (answers.acks["c1"][0]["outcome"], answers.acks["c2"][0]["outcome"]) == ("done", "refused")
    assert "OverflowError" in answers.acks["c2"][0]["message"]


async def test_a_request_that_fails_unexpectedly_stays_open_and_the_poll_goes_on(
    uplink: UplinkKit, polls: CommandPoller, gateway: aioresponses, folder: TaskFolder, monkeypatch: pytest.MonkeyPatch
) -> None:

    def fail_for_holds(spool: Any, wanted: Any, clock: Any) -> Any:
        if wanted.kind == "hold":
            raise ZeroDivisionError
        return record_command(spool, wanted, clock)

    monkeypatch.setattr(command_poller, "record_command", fail_for_holds)
    bring(gateway, command("hold", "c2"), command("cancel", "c1"), times=2)
    answers = Answers(uplink, gateway, "c1", "c2")
    uplink.max_sleeps = 2
    with pytest.raises(EnoughError):
        await polls.run()

    assert ([ack["outcome"] for ack in answers.acks["c1"]], "c2" in answers.acks) == (["done", "done"], False)
    assert [round(wait) for wait in uplink.slept] == [1, 2]


async def test_only_a_few_answers_are_in_memory_at_once(
    uplink: UplinkKit, polls: CommandPoller, gateway: aioresponses, folder: TaskFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"b{n}" for n in range(40)]
    under_way, most = set[str](), 0
    send = GatewayClient.send_bytes

    async def send_slowly(client: GatewayClient, command_id: str, *more: Any) -> Any:
        nonlocal most
        most = max(most, len(under_way))
        for _ in range(3):
            await asyncio.sleep(0)
        under_way.discard(command_id)
        return await send(client, command_id, *more)

    def read_and_note(*asked: Any) -> Any:
        under_way.add(f"b{asked[4]}")
        return task_files.read_task_file(*asked)

    monkeypatch.setattr(GatewayClient, "send_bytes", send_slowly)
    monkeypatch.setattr(command_poller, "read_task_file", read_and_note)
    bring(
        gateway, *(command("send_bytes", one, file="log", attempt=1, offset=n, length=1) for n, one in enumerate(ids))
    )
    answers = Answers(uplink, gateway, *ids)

    assert await polls.poll_once(POLL_WAIT_S) == 40
    assert (len(answers.data), 0 < most <= 4) == (40, True)


@pytest.mark.parametrize(
    ("fault", "waits"),
    [
        ({"status": 503, "headers": {"Retry-After": "50"}}, [50, 50, 50]),
        ({"status": 500}, [1, 2, 4]),
        ({"exception": TimeoutError()}, [1, 2, 4]),
        ({"body": "<html>"}, [1, 2, 4]),
        ({"status": 302, "headers": {"Location": "http://elsewhere/"}}, [1, 2, 4]),
        ({"status": 401}, [REVOKED_WAIT_S] * 3),
    ],
)
async def test_the_poll_waits_while_the_gateway_is_away(
    uplink: UplinkKit, polls: CommandPoller, gateway: aioresponses, fault: dict[str, Any], waits: list[float]
) -> None:
    gateway.get(POLL, repeat=True, **fault)
    uplink.max_sleeps = 3
    with pytest.raises(EnoughError):
        await polls.run()
    assert [round(wait) for wait in uplink.slept] == waits


async def test_an_answer_without_commands_asks_again_at_once(
    uplink: UplinkKit, polls: CommandPoller, gateway: aioresponses
) -> None:
    bring(gateway, times=3)
    gateway.get(POLL, status=503)
    uplink.max_sleeps = 1
    with pytest.raises(EnoughError):
        await polls.run()
    assert len(next(iter(gateway.requests.values()))) == 4


async def test_a_lost_acknowledgement_is_no_end(uplink: UplinkKit, polls: CommandPoller, gateway: aioresponses) -> None:
    bring(gateway, command("cancel"), times=2)
    answers = Answers(uplink, gateway, status=503)
    with pytest.raises(GatewayAwayError):
        await polls.poll_once(POLL_WAIT_S)
    answers.status = 200
    await polls.poll_once(POLL_WAIT_S)
    assert [ack["outcome"] for ack in answers.acks["c1"]] == ["done", "done"]


async def test_a_refused_answer_is_no_secret_in_words(
    uplink: UplinkKit, polls: CommandPoller, gateway: aioresponses
) -> None:
    gateway.get(POLL, status=400, body=problem(400, "wait: too long"))
    with pytest.raises(GatewayRefusedError, match=r"\(400\): wait: too long"):
        await polls.poll_once(POLL_WAIT_S)


async def list_waits(polls: CommandPoller, gateway: aioresponses, uplink: UplinkKit, *is_up: bool) -> list[str]:
    """How long each of these polls was ready to wait."""
    asked: list[str] = []

    def answer(url: Any, **_: Any) -> CallbackResult:
        good = is_up[len(asked)]
        asked.append(url.query["wait"])
        return CallbackResult(status=200 if good else 500, payload={"generation": GENERATION, "commands": []})

    gateway.get(POLL, callback=answer, repeat=True)
    uplink.max_sleeps = is_up.count(False)
    with pytest.raises(EnoughError):
        await polls.run()
    return asked


async def test_after_a_start_or_a_break_what_is_open_is_asked_for_at_once(
    uplink: UplinkKit, client: GatewayClient, gateway: aioresponses, woken: list[bool]
) -> None:
    gate = CommandGate(uplink.clock)
    polls = CommandPoller(uplink.spool, client, uplink.clock, lambda: woken.append(True), gate, sleep=uplink.sleep)
    waits = await list_waits(polls, gateway, uplink, True, True, False, False, True, False)
    assert waits == ["0", "25", "25", "0", "0", "25"]
    assert woken == [True, True]  # what the gate held back


async def test_the_gate_opens_only_when_a_cancel_is_on_disk(
    uplink: UplinkKit, client: GatewayClient, gateway: aioresponses, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = CommandGate(uplink.clock)
    polls = CommandPoller(uplink.spool, client, uplink.clock, lambda: None, gate, sleep=uplink.sleep)
    was_open: list[bool] = []

    def record_and_look(*given: Any) -> Any:
        was_open.append(gate.is_open())
        return record_command(*given)

    monkeypatch.setattr(command_poller, "record_command", record_and_look)
    bring(gateway, command("cancel"))
    Answers(uplink, gateway)
    gateway.get(POLL, status=500)
    uplink.max_sleeps = 1
    with pytest.raises(EnoughError):
        await polls.run()
    assert (was_open, read_journal(uplink.spool, TASK).cancel is not None) == ([False], True)
