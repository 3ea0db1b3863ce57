"""The verdict's order (protocol), as a table."""

from typing import Any

import pytest

from agent.protocol.verdict import is_over_memory, judge_exit, judge_without_exit, needs_slurms_word
from mltm.contract.states import State
from tests.agent.protocol.build import claim, exit_record
from tests.agent.slurm.captured import VERSIONS, read_captured

TERM = [{"name": "TERM", "uptime_s": 5.0}]
LATE = {"stop_signals": TERM, "ended_uptime_s": 4.9}


@pytest.mark.parametrize(
    ("fields", "slurm", "cancelled", "limit_s", "expected"),
    [
        ({"code": 0}, None, False, None, State.SUCCEEDED),
        ({"code": 0}, "FAILED", False, None, State.SUCCEEDED),
        ({"code": 0}, "OUT_OF_MEMORY", False, None, State.SUCCEEDED),
        ({"code": 0, "stop_signals": TERM}, "OUT_OF_MEMORY", False, None, State.OUT_OF_MEMORY),
        ({"code": 0, "oom_kills": 2}, None, False, None, State.SUCCEEDED),
        ({"code": 1, "oom_kills": 1}, None, False, None, State.OUT_OF_MEMORY),
        ({"code": 1, "oom_kills": 0}, "COMPLETED", False, None, State.FAILED),
        ({"code": 1, "oom_kills": 0}, "OUT_OF_MEMORY", False, None, State.FAILED),
        ({"code": 1}, "OUT_OF_MEMORY", False, None, State.OUT_OF_MEMORY),
        ({"code": 127}, "TIMEOUT", False, None, State.FAILED),
        ({"code": 0, "stop_signals": TERM}, "TIMEOUT", False, None, State.TIMEOUT),
        ({"code": 0, "stop_signals": TERM}, "COMPLETED", False, None, State.FAILED),
        ({"code": 0, "stop_signals": TERM}, "CANCELLED by 1000", False, None, State.CANCELLED),
        ({"code": 0, "stop_signals": TERM}, None, True, None, State.CANCELLED),
        ({"code": 0, "stop_signals": TERM}, None, False, 60.0, State.TIMEOUT),
        ({"code": 0, "stop_signals": TERM}, None, False, 61.0, State.FAILED),
        ({"code": 143, "stop_signals": TERM}, "PREEMPTED", True, None, State.PREEMPTED),
        ({"code": 143, "stop_signals": TERM, "stopped_for_beat": True}, None, True, None, State.NODE_FAIL),
        ({"code": 0, **LATE}, "COMPLETED", False, 60.0, State.SUCCEEDED),
        ({"code": 0, **LATE}, "COMPLETED", True, None, State.SUCCEEDED),
        ({"code": 0, **LATE}, "CANCELLED", False, None, State.CANCELLED),
        ({"code": 0, **LATE}, "TIMEOUT", False, None, State.TIMEOUT),
        ({"code": 0, **LATE}, "FAILED", False, None, State.FAILED),
        ({"code": 0, **LATE}, None, False, None, State.FAILED),
        ({"code": 0, **LATE}, None, True, None, State.CANCELLED),
        ({"code": 5, **LATE}, "COMPLETED", False, None, State.FAILED),
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


@pytest.mark.parametrize("version", VERSIONS)
def test_slurms_step_daemon_says_that_it_killed_a_job_for_its_memory(version: str) -> None:
    for line in read_captured("slurmstepd-over-memory", version).stdout.splitlines():
        assert is_over_memory(line) == ("CANCELLED" not in line)


@pytest.mark.parametrize("slurm", ["FAILED", None])
def test_killed_by_slurm_for_its_memory_is_failed_and_not_lost(slurm: str | None) -> None:
    verdict = judge_without_exit(claim(), slurm=slurm, is_over_memory=True)

    assert verdict.state is State.FAILED
    assert "more memory than it asked for" in verdict.reason
    assert judge_without_exit(claim(), slurm="CANCELLED", is_over_memory=True).state is State.CANCELLED


@pytest.mark.parametrize(
    "text",
    [
        "",
        "slurmstepd-n1: error: *** JOB 9 ON n1 CANCELLED AT 2026-11-24T19:07:42 ***",
        "exceeded memory limit",
        "error: exceeded memory limit",
    ],
)
def test_other_words_beside_a_job_say_nothing_of_its_memory(text: str) -> None:
    assert not is_over_memory(text)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"code": 0}, False),
        ({"code": 0, "oom_kills": 1}, False),
        ({"code": 127}, True),
        ({"code": 127, "oom_kills": 0}, False),
        ({"code": 255, "oom_kills": 0}, False),
        ({"code": 137, "oom_kills": 1}, False),
        ({"code": 129, "oom_kills": 0}, True),
        ({"code": 0, "stop_signals": TERM}, True),
        ({"code": 0, **LATE}, True),
    ],
)
def test_slurms_word_is_needed_where_code_was_stopped_or_killed_or_nobody_counted_oom_kills(
    fields: dict[str, Any], expected: bool
) -> None:
    assert needs_slurms_word(exit_record(**fields)) is expected


SLURMS = (None, "COMPLETED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "CANCELLED", "PREEMPTED", "DEADLINE")


@pytest.mark.parametrize("oom_kills", [None, 0, 2])
@pytest.mark.parametrize("code", [0, 1, 137, 255])
@pytest.mark.parametrize("stops", [{}, {"stop_signals": TERM}, LATE])
def test_a_verdict_that_does_not_wait_for_slurm_is_the_same_whatever_slurm_says(
    code: int, oom_kills: int | None, stops: dict[str, Any]
) -> None:
    record = exit_record(code, oom_kills=oom_kills, **stops)
    states = {judge_exit(record, slurm=said, cancelled=False, limit_s=None).state for said in SLURMS}

    assert needs_slurms_word(record) or len(states) == 1


def test_an_image_that_did_not_start_is_said_so() -> None:
    verdict = judge_exit(exit_record(255, image_started=False), slurm=None, cancelled=False, limit_s=None)

    assert verdict.state is State.FAILED
    assert "image did not start" in verdict.reason


@pytest.mark.parametrize(("code", "state"), [(0, State.SUCCEEDED), (1, State.FAILED), (126, State.FAILED)])
def test_a_cancel_that_came_too_late_says_so_and_changes_no_end(code: int, state: State) -> None:
    plain, late = (
        judge_exit(exit_record(code), slurm="COMPLETED", cancelled=cancelled, limit_s=None)
        for cancelled in (False, True)
    )
    assert (plain.state, late.state) == (state, state)
    assert late.reason == f"{plain.reason} The cancel came too late: the script had ended by itself.".strip()
