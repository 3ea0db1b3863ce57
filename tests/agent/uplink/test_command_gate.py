"""New attempts wait for the gateway's commands after a start or a break, but never for long."""

from dataclasses import dataclass

import pytest

from agent.uplink.command_gate import MAX_HELD_S, CommandGate
from mltm.runtime.clock import Clock


@dataclass
class Time:
    now_s: float = 1000.0


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def gate(time: Time) -> CommandGate:
    return CommandGate(Clock(boot_s=lambda: time.now_s))


def test_a_start_holds_back_until_a_poll_is_answered(gate: CommandGate) -> None:
    assert not gate.is_open()
    gate.note_answer()
    assert gate.is_open()


def test_an_agent_without_a_gateway_goes_on_after_ten_seconds(gate: CommandGate, time: Time) -> None:
    time.now_s += MAX_HELD_S - 0.1
    gate.note_failure()
    assert not gate.is_open()
    time.now_s += 0.2
    assert gate.is_open()


def test_each_break_holds_back_once_however_often_polls_fail_in_it(gate: CommandGate, time: Time) -> None:
    gate.note_answer()
    for _ in range(6):
        gate.note_failure()
        time.now_s += 3
    assert gate.is_open()
    gate.note_answer()
    gate.note_failure()
    assert not gate.is_open()


def test_a_host_that_stood_still_asks_first(gate: CommandGate, time: Time) -> None:
    gate.note_answer()
    time.now_s += 49
    assert gate.is_open()
    time.now_s += 3600
    assert not gate.is_open()
    gate.note_answer()
    assert gate.is_open()
