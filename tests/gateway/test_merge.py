"""A task's row is what the set of its reports says: any order, any repetition."""

import itertools
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.store import tasks as rows
from gateway.store.database import Database
from gateway.store.migrate import migrate
from gateway.store.models import Agent
from gateway.store.reports import store_report
from gateway.values import AgentIdentity, User
from mltm.contract.agent_api import ReportOutcome
from mltm.contract.ids import AgentId
from mltm.contract.manifest import Manifest
from mltm.contract.reports import Note, Report
from mltm.contract.states import ACTIVE, FINAL, Evidence, State
from mltm.contract.user_api import TaskAnswer

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SPOOL_ID = "a" * 32
AGENT = AgentIdentity(AgentId("b" * 32), "atena02", None, Path("spool"), SPOOL_ID)
ROOT = User("root", "admin")
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One database for all examples: each makes its own task in it. No fsync: this is not about power cuts."""
    opened = Database(tmp_path_factory.mktemp("merge") / "gateway.sqlite")
    migrate(opened)
    opened.run_now(_stop_syncing)
    opened.call_now(_add_agent)
    yield opened
    opened.close()


def _stop_syncing(db: Any) -> None:
    db.execute_sql("pragma synchronous = off")


def _add_agent() -> None:
    Agent.create(
        agent_id=AGENT.agent_id, cluster="atena02", spool="spool", spool_id=SPOOL_ID, credential_sha256="x",
        host="h", unix_user="u", version="1", enrolled_at="2026-11-23T12:00:00Z",
    )  # fmt: skip


@st.composite
def consistent_reports(draw: st.DrawFn) -> list[Report]:
    """Reports as agents make them: unique numbers, one end (repeated at will), which an amendment may correct."""
    end, closing = draw(st.sampled_from(FINAL)), draw(st.integers(1, 3))
    made = []
    for seq in range(1, draw(st.integers(2, 8))):
        is_end = draw(st.integers(0, 3)) == 0
        state = end if is_end else draw(st.sampled_from([s for s in ACTIVE if s is not State.ACCEPTED]))
        fields = {
            "spool_id": SPOOL_ID, "epoch": draw(st.integers(1, 2)), "seq": seq, "task_id": "0" * 32,
            "attempt": closing if is_end else draw(st.integers(1, closing)), "state": state, "closed": is_end,
            "evidence": Evidence.CLOSED if is_end else draw(st.sampled_from([*Evidence][:4])),
            "at": NOW + timedelta(seconds=seq), "taken": draw(st.booleans()), "words": draw(st.sampled_from(["", "w"])),
            "job_id": draw(st.sampled_from([None, "1", "2"])), "exit_code": draw(st.sampled_from([None, 0, 3])),
            "note": draw(st.sampled_from([None, Note(), Note(kind="held", words="by root")])),
        }  # fmt: skip
        made.append(Report.model_validate(fields))
    if end in (State.LOST, State.NODE_FAIL) and any(report.closed for report in made) and draw(st.booleans()):
        fixed = {"seq": 99, "attempt": closing, "state": State.SUCCEEDED, "evidence": Evidence.AMENDED, "closed": True}
        made.append(made[0].model_copy(update=fixed))
    return made


def tell(database: Database, task_id: str, reports: list[Report]) -> tuple[TaskAnswer, list[ReportOutcome]]:
    """A new task that is told these reports; its answer without what is the task's own or the order's."""
    manifest = Manifest(
        task_id=task_id, owner="alice", cluster="atena02", submitted_at=NOW, script_name="s.py", config={}, files=[]
    )
    database.call_now(rows.add_task, manifest, AGENT, None, NOW)
    outcomes = [
        database.call_now(store_report, AGENT, report.model_copy(update={"task_id": task_id}), NOW)
        for report in reports
    ]
    answer = database.call_now(rows.read_task, ROOT, task_id, NOW)
    return answer.model_copy(update={"task_id": "", "id": ""}), outcomes


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reports=consistent_reports(), seed=st.integers(0, 2**32))
def test_order_and_repetition_change_nothing_in_the_row(database: Database, reports: list[Report], seed: int) -> None:
    chance = random.Random(seed)
    told: list[TaskAnswer] = []
    # One spool's numbers are used once: each round gets its own epochs.
    for order in (reports, chance.sample(reports, len(reports)), reports[::-1]):
        number = next(_NUMBERS)
        mine = [report.model_copy(update={"epoch": 10 * number + report.epoch}) for report in order]
        again = [*mine, *chance.sample(mine, len(mine) // 2)]
        answer, outcomes = tell(database, f"{number:032x}", again)
        assert [outcome.outcome for outcome in outcomes] == ["taken"] * len(mine) + ["known"] * (len(again) - len(mine))
        told.append(answer)

    assert told[0] == told[1] == told[2]
