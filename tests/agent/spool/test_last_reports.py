"""For a gateway that lost its memory, every task is told of once more, with its config."""

import json
import os
from datetime import UTC, datetime

from agent.intake.bundles import BundleIntake
from agent.protocol.kept import Kept
from agent.protocol.observation import Observation
from agent.protocol.task_report import ReportDraft, Told
from agent.spool.last_reports import read_last_report, read_last_reports
from agent.spool.observations import save_observation
from agent.spool.tombstones import write_tombstone
from mltm.contract.ids import TaskId
from mltm.contract.limits import MAX_MESSAGE_BYTES
from mltm.contract.states import Evidence, State
from tests.agent.spool.build import TASK, SpoolKit, send

OTHER = TaskId("0190a0b0c0d07e0f8a0b0c0d0e0f0a0c")


def draft(task_id: TaskId, state: State) -> str:
    at = datetime(2026, 11, 24, tzinfo=UTC)
    told = ReportDraft(task_id=task_id, attempt=1, state=state, evidence=Evidence.CLOSED, at=at)
    return told.model_dump_json(exclude_defaults=True)


def see(kit: SpoolKit, boot_id: str, state: State, seconds: int) -> None:
    kept = Kept(Observation(boot_id=boot_id, attempt=1, since_s=0), Told(last_report=draft(OTHER, state)))
    save_observation(kit.spool, OTHER, kept, kit.clock)
    os.utime(kit.spool.observations / boot_id / OTHER, (seconds, seconds))


def test_ended_and_running_tasks_are_told_of_once_with_their_configs(kit: SpoolKit) -> None:
    for task_id in (TASK, OTHER):
        send(kit, task_id)
    BundleIntake(kit.spool, kit.settings, kit.clock).scan()
    write_tombstone(kit.spool, TASK, draft(TASK, State.SUCCEEDED), kit.clock)
    see(kit, "new", State.RUNNING, 200)
    see(kit, "old", State.PENDING, 100)
    told = {again.task_id: again for again in read_last_reports(kit.spool)}
    assert {task_id: again.state for task_id, again in told.items()} == {
        TASK: State.SUCCEEDED,
        OTHER: State.RUNNING,
    }
    assert all(again.manifest is not None and again.at is None for again in told.values())


def test_a_task_whose_folder_is_gone_is_told_of_from_its_tombstone(kit: SpoolKit) -> None:
    write_tombstone(kit.spool, TASK, draft(TASK, State.FAILED), kit.clock)
    assert [again.state for again in read_last_reports(kit.spool)] == [State.FAILED]


def test_a_task_that_nothing_was_reported_of_says_that_it_is_here(kit: SpoolKit) -> None:
    send(kit)
    BundleIntake(kit.spool, kit.settings, kit.clock).scan()
    (again,) = read_last_reports(kit.spool)
    assert (again.state, again.evidence, again.taken) == (State.ACCEPTED, Evidence.NONE, True)
    assert again.manifest is not None


def test_a_folder_that_only_holds_a_command_is_no_task_yet(kit: SpoolKit) -> None:
    kit.spool.task(TASK).control.mkdir(parents=True)
    assert read_last_report(kit.spool, TASK) is None
    assert list(read_last_reports(kit.spool)) == []


def test_a_tombstone_of_before_there_were_limits_is_told_as_far_as_it_fits(kit: SpoolKit) -> None:
    old = {**json.loads(draft(TASK, State.FAILED)), "job_id": "9" * 5000, "message": "x" * 100_000, "node": "n1"}
    write_tombstone(kit.spool, TASK, json.dumps(old), kit.clock)

    (again,) = read_last_reports(kit.spool)

    assert (again.state, again.job_id, again.node) == (State.FAILED, None, "n1")
    assert len(again.message.encode()) == MAX_MESSAGE_BYTES
