"""A task's row is what the set of its reports says: any order, any repetition."""

import itertools
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.store import joined
from gateway.store import reports as reports_module
from gateway.store import tasks as rows
from gateway.store.database import Database
from gateway.store.migrate import migrate
from gateway.store.models import Agent, JoinedAttemptRow, JoinedTaskRow, StoredReport
from gateway.store.prepared import prepare_report
from gateway.store.reports import store_report, store_reports
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


def spoil_nothing(_: str) -> None:
    """Nothing happens between two batches."""


def forget_joined(task_id: str) -> None:
    """As after the migration that made the tables."""
    JoinedTaskRow.delete().where(JoinedTaskRow.task_id == task_id).execute()


def spoil_task(task_id: str) -> None:
    """Not JSON of that shape any more."""
    JoinedTaskRow.update(body="[]").where(JoinedTaskRow.task_id == task_id).execute()


def spoil_attempts(task_id: str) -> None:
    """Cut off."""
    JoinedAttemptRow.update(body="{").where(JoinedAttemptRow.task_id == task_id).execute()


DAMAGES = (spoil_nothing, forget_joined, spoil_task, spoil_attempts)


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reports=histories().filter(bool), data=st.data())
def test_batches_of_any_size_give_the_same_row_and_what_is_kept_may_be_lost_between(
    database: Database, reports: list[Report], data: st.DataObject
) -> None:
    number = next(_NUMBERS)
    mine = [report.model_copy(update={"epoch": 10 * number + report.epoch}) for report in reports]
    one_by_one, _ = tell(database, f"{number:032x}", mine)
    number = next(_NUMBERS)
    task_id = f"{number:032x}"
    order = data.draw(st.permutations([*reports, *reports]))
    tell(database, task_id, [])
    while order:
        size = data.draw(st.integers(1, len(order)))
        batch, order = order[:size], order[size:]
        changed = {"task_id": task_id, "spool_id": SPOOL_ID}
        prepared = [
            prepare_report(report.model_copy(update={**changed, "epoch": 10 * number + report.epoch}))
            for report in batch
        ]
        database.call_now(store_reports, AGENT, prepared, NOW)
        database.call_now(data.draw(st.sampled_from(DAMAGES)), task_id)
    answer = database.call_now(rows.read_task, ROOT, task_id, NOW)

    assert answer.model_copy(update={"task_id": "", "id": ""}) == one_by_one


def build(task_id: str, number: int, seq: int, **fields: object) -> Report:
    known = {
        "spool_id": SPOOL_ID, "epoch": 10 * number, "seq": seq, "task_id": task_id, "attempt": 1, "state": "running",
        "evidence": "claim", "at": NOW, "message": "x" * 8000, "note": {"kind": "held", "message": "y" * 8000},
    }  # fmt: skip
    return Report.model_validate({**known, **fields})


def test_a_report_costs_the_same_however_many_came_before(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    number = next(_NUMBERS)
    task_id = f"{number:032x}"
    tell(database, task_id, [])
    database.call_now(store_report, AGENT, build(task_id, number, 1), NOW)

    def read_again(_row: StoredReport) -> Report | None:
        raise AssertionError("a report that was merged is read again")

    monkeypatch.setattr(joined, "read_report", read_again)
    costs = []
    for seq in range(2, 100):
        report = build(task_id, number, seq, attempt=1 + seq % 20)
        costs.append(count_statements(database, report))

    assert max(costs[-20:]) == max(costs[20:40])


def count_statements(database: Database, report: Report) -> int:
    """SQL statements that storing one report takes."""
    outcomes: list[str] = []
    seen = trace(database, lambda: outcomes.append(database.call_now(store_report, AGENT, report, NOW).outcome))
    assert outcomes == ["taken"]
    return len(seen)


def trace(database: Database, work: Callable[[], object]) -> list[str]:
    """The SQL statements that some work takes."""
    seen: list[str] = []

    def watch(db: Any) -> None:
        db.connection().set_trace_callback(seen.append)

    def look_away(db: Any) -> None:
        db.connection().set_trace_callback(None)

    database.run_now(watch)
    work()
    database.run_now(look_away)
    return seen


def test_a_list_reads_no_config(database: Database) -> None:
    tell(database, f"{next(_NUMBERS):032x}", [])

    seen = trace(database, lambda: database.call_now(rows.list_tasks, ROOT, None, None, 10, NOW))

    assert [statement for statement in seen if '"submitted_at"' in statement] != []
    assert [statement for statement in seen if '"config"' in statement] == []


def test_a_batch_merges_its_task_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    number = next(_NUMBERS)
    task_id = f"{number:032x}"
    tell(database, task_id, [])
    merged: list[str] = []

    def save(known: joined.Joined) -> None:
        merged.append(known.task_id)
        joined.save_joined(known)

    monkeypatch.setattr(reports_module, "save_joined", save)
    prepared = [prepare_report(build(task_id, number, seq)) for seq in range(1, 100)]

    outcomes = database.call_now(store_reports, AGENT, prepared, NOW)

    assert ({outcome.outcome for outcome in outcomes}, merged) == ({"taken"}, [task_id])


@pytest.mark.parametrize(
    ("cap", "most"), [("MAX_TASK_REPORTS", 3), ("MAX_TASK_ATTEMPTS", 3), ("MAX_TASK_BYTES", 55_000)]
)
def test_a_task_at_its_caps_takes_its_end_alone_and_says_so(
    database: Database, monkeypatch: pytest.MonkeyPatch, cap: str, most: int
) -> None:
    number = next(_NUMBERS)
    task_id, other = f"{number:032x}", f"{next(_NUMBERS):032x}"
    for each in (task_id, other):
        tell(database, each, [])
    over = database.call_now(joined.count_over_caps)
    monkeypatch.setattr(joined, cap, most)
    reports = [build(task_id, number, seq, attempt=seq) for seq in range(1, 9)]

    outcomes = [database.call_now(store_report, AGENT, report, NOW) for report in reports]

    assert [outcome.outcome for outcome in outcomes] == ["taken"] * 3 + ["refused"] * 5
    assert f"at most {most:,} " in outcomes[-1].message
    assert [database.call_now(store_report, AGENT, report, NOW).outcome for report in reports[:4]] == [
        "known", "known", "known", "refused",
    ]  # fmt: skip
    assert database.call_now(joined.count_over_caps) == over + 1
    told = database.call_now(rows.read_task, ROOT, task_id, NOW)
    assert [event.message for event in told.history].count(outcomes[-1].message) == 1
    end = build(task_id, number, 50, attempt=50, state="failed", evidence="closed", closed=True)
    assert database.call_now(store_report, AGENT, end, NOW).outcome == "taken"
    assert database.call_now(rows.read_task, ROOT, task_id, NOW).state is State.FAILED
    assert database.call_now(store_report, AGENT, build(other, number, 99), NOW).outcome == "taken"


def test_the_config_of_a_report_is_kept_once_and_told_apart(database: Database) -> None:
    number = next(_NUMBERS)
    task_id = f"{number:032x}"
    manifest = {
        "task_id": task_id, "owner": "alice", "cluster": "atena02", "submitted_at": NOW, "script_name": "s.py",
        "config": {"big": "x" * 100_000}, "files": [], "source": "drop",
    }  # fmt: skip
    report = build(task_id, number, 1, manifest=manifest)
    assert database.call_now(store_report, AGENT, report, NOW).outcome == "taken"

    row = database.call_now(lambda: StoredReport.get(StoredReport.task_id == task_id))
    assert len(row.body) < 30_000
    assert database.call_now(rows.read_task, ROOT, task_id, NOW).config == manifest["config"]
    # As if the limits of texts had changed since: it is still the same report, and another config is another one.
    database.call_now(lambda: StoredReport.update(sha256="0" * 64).where(StoredReport.task_id == task_id).execute())
    other = build(task_id, number, 1, manifest={**manifest, "config": {"big": "y"}})
    assert database.call_now(store_report, AGENT, report, NOW).outcome == "known"
    assert database.call_now(store_report, AGENT, other, NOW).outcome == "conflict"


def test_a_user_is_shown_the_newest_attempts_and_reports(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    number = next(_NUMBERS)
    task_id = f"{number:032x}"
    monkeypatch.setattr(rows, "MAX_SHOWN_ATTEMPTS", 30)
    monkeypatch.setattr(rows, "MAX_SHOWN_REPORTS", 10)
    reports = [build(task_id, number, seq, attempt=seq, message=str(seq)) for seq in range(1, 41)]
    task, _ = tell(database, task_id, reports)
    page = database.call_now(rows.list_tasks, ROOT, None, None, 1000, NOW)
    (row,) = [each for each in page.tasks if each.task_id == task_id]

    assert [attempt.attempt for attempt in row.attempts] == list(range(21, 41))
    assert [attempt.attempt for attempt in task.attempts] == list(range(11, 41))
    assert [event.message for event in task.history if event.source == "agent"] == [str(n) for n in range(31, 41)]
