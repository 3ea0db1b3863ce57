"""A walk over plans: each strikes or is tried again later, and what is never reached is said, not forgotten."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chaos.faults.plan import Plan, fired_path, plan_path
from chaos.faults.points import POINTS
from chaos.strikes import strike
from chaos.strikes.provoke import PROVOCATIONS
from chaos.strikes.strike import Walk
from chaos.trial import Result
from mltm.contract.ids import TaskId
from mltm.contract.journal_records import JobClaim, render_record
from mltm.contract.spool_layout import Spool

BY_NAME = {point.name: point for point in POINTS}
NOTE, FENCE, CLAIM = (BY_NAME[name] for name in ("agent.note", "agent.fence", "wrapper.take_claim"))


@pytest.fixture(autouse=True)
def ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strike, "_STAYS_UP_S", 0.0)


class Field(SimpleNamespace):
    """What a walk needs of a trial: a house whose dead are counted, and a stream that hears what is allowed."""

    def __init__(self, folder: Path) -> None:
        self.revived: list[tuple[str, int]] = []
        self.allowed: list[tuple[str, ...]] = []
        house = SimpleNamespace(
            plans=folder, revive=lambda *who: self.revived.append(who), revive_dead=lambda: None, kill=None, start=None,
            spool=folder / "spool",
        )  # fmt: skip
        stream = SimpleNamespace(allow=lambda *ends: self.allowed.append(ends))
        super().__init__(house=house, stream=stream, result=Result("points", 1, "stand-in"))


@contextmanager
def passing(folder: Path, *passed: tuple[Plan, str]) -> Iterator[None]:
    """Somebody who passes these points again and again; in a victim's name {} is how often something struck before."""
    over, struck = threading.Event(), itertools.count()

    def go() -> None:
        while not over.wait(0.005):
            for plan, victim in passed:
                source = plan_path(folder, plan.point.name, plan.when)
                if source.exists():
                    source.rename(fired_path(folder, plan.point.name, plan.when, victim.format(next(struck))))

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def walk(folder: Path, plans: list[Plan]) -> Any:
    field = Field(folder)
    Walk(plans, field).run()  # type: ignore[arg-type] # what it needs of a trial
    return field


def put_claim(folder: Path, task_id: str) -> Path:
    """Records of a job that owns attempt 1; returns where its exit record would be."""
    attempt = Spool(folder / "spool").task(TaskId(task_id)).attempt(1)
    claim = JobClaim(
        nonce="b" * 32, job_id="7", node="n1", pid=1, boot_id="0190a0b0-c0d0-4e0f-8a0b-0c0d0e0f0a0b",
        at=datetime(2026, 11, 24, tzinfo=UTC),
    )  # fmt: skip
    attempt.claim.parent.mkdir(parents=True)
    attempt.claim.write_bytes(render_record(claim))
    return attempt.exit


def test_a_job_that_dies_before_its_claim_or_after_its_exit_record_may_not_be_lost(tmp_path: Path) -> None:
    plan = Plan(CLAIM, "after", "kill")
    put_claim(tmp_path, "d" * 32).touch()
    with passing(tmp_path, (plan, "c" * 32)):
        assert walk(tmp_path, [plan]).allowed == []
    with passing(tmp_path, (plan, "d" * 32)):
        assert walk(tmp_path, [plan]).allowed == []


def test_kills_are_counted_once_a_process_and_failures_are_no_kills(tmp_path: Path) -> None:
    put_claim(tmp_path, "a" * 32)
    kills = [Plan(NOTE, "before", "kill"), Plan(FENCE, "after", "kill")]
    failure, lost = Plan(NOTE, "after", "fail"), Plan(CLAIM, "after", "kill")
    with passing(tmp_path, *((plan, "77") for plan in (*kills, failure)), (lost, "a" * 32)):
        field = walk(tmp_path, [*kills, failure, lost])

    assert (field.result.faults, field.result.kills, field.result.missed) == (4, 2, [])
    assert set(field.revived) == {("agent", 77)}
    assert field.allowed == [("a" * 32, "lost", "node_fail")]


def test_two_plans_of_one_moment_strike_one_after_the_other(tmp_path: Path) -> None:
    plans = [Plan(NOTE, "before", act) for act in ("kill", "fail", "kill")]
    with passing(tmp_path, (plans[0], "7{}")):
        field = walk(tmp_path, plans)

    assert (field.result.faults, field.result.kills) == (3, 2)
    assert field.revived == [("agent", 70), ("agent", 72)]


def test_a_point_that_is_never_passed_is_tried_again_and_then_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strike, "_REACHED_WITHIN_S", 0.05)
    seldom, often = Plan(FENCE, "before", "kill"), Plan(NOTE, "before", "fail")
    with passing(tmp_path, (often, "77")):
        field = walk(tmp_path, [seldom, often])

    assert field.result.missed == ["kill before agent.fence"]
    assert field.result.faults == 1
    assert not list(tmp_path.glob("*.plan"))


def test_what_is_provoked_is_a_point() -> None:
    assert set(PROVOCATIONS) <= set(BY_NAME)
