"""The verdict's order (protocol), as a table."""

from typing import Any

import pytest

from agent.verdict import judge_exit, judge_without_exit, needs_slurms_word
from mltm.contract.states import State
from tests.agent.core.build import claim, exit_record

TERM = [{"name": "TERM", "uptime_s": 5.0}]


@pytest.mark.parametrize(
    ("fields", "slurm", "cancelled", "limit_s", "expected"),
    [
        ({"code": 0}, None, False, None, State.SUCCEEDED),
        ({"code": 0}, "FAILED", False, None, State.SUCCEEDED),
        ({"code": 0}, "OUT_OF_MEMORY", False, None, State.OUT_OF_MEMORY),
        ({"code": 0, "oom_kills": 2}, None, False, None, State.SUCCEEDED),
        ({"code": 1, "oom_kills": 1}, None, False, None, State.OUT_OF_MEMORY),
        ({"code": 1, "oom_kills": 0}, "COMPLETED", False, None, State.FAILED),
        ({"code": 127}, "TIMEOUT", False, None, State.FAILED),
        ({"code": 0, "stop_signals": TERM}, "TIMEOUT", False, None, State.TIMEOUT),
        ({"code": 0, "stop_signals": TERM}, "COMPLETED", False, None, State.FAILED),
        ({"code": 0, "stop_signals": TERM}, "CANCELLED by 1000", False, None, State.CANCELLED),
        ({"code": 0, "stop_signals": TERM}, None, True, None, State.CANCELLED),
        ({"code": 0, "stop_signals": TERM}, None, False, 60.0, State.TIMEOUT),
        ({"code": 0, "stop_signals": TERM}, None, False, 61.0, State.FAILED),
        ({"code": 143, "stop_signals": TERM}, "PREEMPTED", True, None, State.PREEMPTED),
        ({"code": 143, "stop_signals": TERM, "stopped_for_beat": True}, None, True, None, State.NODE_FAIL),
        ({"code": 137}, None, False, None, State.FAILED),
        ({"code": 137}, "OUT_OF_MEMORY", False, None, State.OUT_OF_MEMORY),
        ({"code": 137}, "DEADLINE", False, None, State.DEADLINE),
        ({"code": 137}, "NODE_FAIL", False, None, State.NODE_FAIL),
    ],
)
def test_the_first_rule_that_fits_decides(
    fields: dict[str, Any], slurm: str | None, cancelled: bool, limit_s: float | None, expected: State
) -> None:
    verdict = judge_exit(exit_record(**fields), slurm=slurm, cancelled=cancelled, limit_s=limit_s)

    assert verdict.state is expected
    assert (verdict.reason == "") == (expected is State.SUCCEEDED)


@pytest.mark.parametrize(("code", "signal"), [(137, 9), (139, 11), (1, None), (0, None), (255, None)])
def test_a_signal_is_named(code: int, signal: int | None) -> None:
    assert judge_exit(exit_record(code), slurm=None, cancelled=False, limit_s=None).signal == signal


@pytest.mark.parametrize(
    ("slurm", "expected"),
    [
        (None, State.LOST),
        ("COMPLETED", State.LOST),
        ("FAILED", State.LOST),
        ("SOMETHING_NEW", State.LOST),
        ("TIMEOUT", State.TIMEOUT),
        ("NODE_FAIL", State.NODE_FAIL),
        ("BOOT_FAIL", State.NODE_FAIL),
        ("CANCELLED by 0", State.CANCELLED),
        ("OUT_OF_MEMORY", State.OUT_OF_MEMORY),
    ],
)
def test_without_an_exit_record_success_never_comes_from_slurm(slurm: str | None, expected: State) -> None:
    assert judge_without_exit(claim(), slurm=slurm).state is expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"code": 0}, False),
        ({"code": 127}, False),
        ({"code": 255}, False),
        ({"code": 129}, True),
        ({"code": 0, "stop_signals": TERM}, True),
    ],
)
def test_only_stopped_or_killed_code_needs_slurms_word(fields: dict[str, Any], expected: bool) -> None:
    assert needs_slurms_word(exit_record(**fields)) is expected


def test_an_image_that_did_not_start_is_said_so() -> None:
    verdict = judge_exit(exit_record(255, image_started=False), slurm=None, cancelled=False, limit_s=None)

    assert verdict.state is State.FAILED
    assert "image did not start" in verdict.reason
