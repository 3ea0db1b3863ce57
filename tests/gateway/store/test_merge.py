"""A task's row is what the set of its reports says: any order, any repetition."""

import itertools
import random
from collections.abc import Iterator
from datetime import UTC, datetime
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
from gateway.store.users import add_user
from gateway.values import AgentIdentity, User
from mltm.contract.agent_api import ReportOutcome
from mltm.contract.ids import AgentId
from mltm.contract.manifest import Manifest
from mltm.contract.reports import Report, compute_task_view
from mltm.contract.states import State, is_allowed
from mltm.contract.user_api import TaskAnswer
from tests.mltm.contract.histories import histories

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SPOOL_ID = "a" * 32
AGENT = AgentIdentity(AgentId("b" * 32), "atena02", None, Path("spool"), SPOOL_ID)
ROOT = User("root", "admin", "c" * 32)
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One database for all examples: each makes its own task in it. No fsync: this is not about power cuts."""
    opened = Database(tmp_path_factory.mktemp("merge") / "gateway.sqlite")
    migrate(opened)
    opened.run_now(_stop_syncing)
    opened.call_now(_add_agent)
    yield opened
    opened.close()  # from Python 3.13 on a connection that is not closed is warned of


def _stop_syncing(db: Any) -> None:
    db.execute_sql("pragma synchronous = off")


def _add_agent() -> None:
    add_user(ROOT.username, ROOT.role, None, NOW, user_id=ROOT.user_id)
    Agent.create(
        agent_id=AGENT.agent_id, cluster="atena02", inbox="inbox", spool_id=SPOOL_ID, credential_sha256="x",
        host="h", unix_user="u", version="1", enrolled_at="2026-11-23T12:00:00Z",
    )  # fmt: skip


def tell(database: Database, task_id: str, reports: list[Report]) -> tuple[TaskAnswer, list[ReportOutcome]]:
    """A new task that is told these reports; its answer without what is the task's own or the order's."""
    manifest = Manifest(
        task_id=task_id, owner="alice", cluster="atena02", submitted_at=NOW, script_name="s.py", config={}, files=[]
    )
    database.call_now(rows.add_task, ROOT, manifest, AGENT, None, NOW)
    outcomes = [
        database.call_now(store_report, AGENT, report.model_copy(update={"task_id": task_id}), NOW)
        for report in reports
    ]
    answer = database.call_now(rows.read_task, ROOT, task_id, NOW)
    return answer.model_copy(update={"task_id": "", "id": ""}), outcomes


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reports=histories(), seed=st.integers(0, 2**32))
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


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reports=histories(), seed=st.integers(0, 2**32))
def test_a_row_moves_along_the_table_and_is_what_the_set_says(
    database: Database, reports: list[Report], seed: int
) -> None:
    number, chance = next(_NUMBERS), random.Random(seed)
    mine = [report.model_copy(update={"epoch": 10 * number + report.epoch}) for report in reports]
    order = chance.choices(mine, k=len(mine)) + chance.sample(mine, len(mine))  # some twice, and all of them
    task_id, states = f"{number:032x}", [State.ACCEPTED]
    tell(database, task_id, [])
    for report in order:
        database.call_now(store_report, AGENT, report.model_copy(update={"task_id": task_id}), NOW)
        states.append(database.call_now(rows.read_task, ROOT, task_id, NOW).state)

    assert all(is_allowed(before, after) for before, after in itertools.pairwise(states))
    assert states[-1] == compute_task_view(mine).state


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reports=histories().filter(bool))
def test_another_report_under_a_known_number_changes_nothing(database: Database, reports: list[Report]) -> None:
    number = next(_NUMBERS)
    mine = [report.model_copy(update={"epoch": 10 * number + report.epoch}) for report in reports]
    before, _ = tell(database, f"{number:032x}", mine)
    forged = mine[0].model_copy(update={"task_id": f"{number:032x}", "message": "forged", "state": State.SUCCEEDED})

    assert database.call_now(store_report, AGENT, forged, NOW).outcome == "conflict"
    after = database.call_now(rows.read_task, ROOT, f"{number:032x}", NOW)
    assert after.model_copy(update={"task_id": "", "id": ""}) == before
