"""Bundles: only whole ones become tasks, a faulty one stops no other and is told, and of two agents one wins."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.intake.bundles import BundleIntake
from agent.spool.last_reports import read_last_reports
from agent.spool.records import read_journal
from agent.spool.staging import publish_task
from mltm.contract.ids import TaskId
from mltm.contract.states import State
from tests.agent.intake.test_kills import run_killed
from tests.agent.spool.build import CONFIG, SCRIPT, TASK, SpoolKit, make_link, make_second_name, send
from tests.agent.tasks.slurm_world import CountedSlurm, open_world

OTHER = TaskId("0190a0b0c0d07e0f8a0b0c0d0e0f0a0c")


def intake_of(kit: SpoolKit) -> BundleIntake:
    return BundleIntake(kit.spool, kit.settings, kit.clock)


def scan_for_s(kit: SpoolKit, intake: BundleIntake, seconds: int) -> list[str]:
    said = intake.scan()
    for _ in range(0, seconds, 20):
        kit.now_s += 20
        said = intake.scan()
    return said


def test_a_whole_bundle_becomes_a_task_and_stays_where_the_gateway_put_it(kit: SpoolKit) -> None:
    bundle = send(kit)
    assert intake_of(kit).scan() == []
    assert kit.tasks() == [TASK]
    assert (kit.spool.task(TASK).input / "entrypoint.py").read_bytes() == SCRIPT
    assert (kit.spool.active / TASK).exists()
    assert (bundle / "files" / "entrypoint.py").exists()
    assert not kit.staged()


@pytest.mark.parametrize("place", ["", "new"])
def test_an_inbox_that_was_opened_to_all_after_the_start_is_not_read_until_it_is_mended(
    kit: SpoolKit, place: str
) -> None:
    folder, intake = kit.spool.inbox.root / place, intake_of(kit)
    intake.scan()
    send(kit)
    mode = folder.stat().st_mode
    folder.chmod(0o777)
    assert intake.scan() == [
        f"No task is accepted: others could put tasks there. Everybody may write to {folder}. Run: chmod o-w {folder}"
    ]
    assert kit.tasks() == []

    folder.chmod(mode)
    assert scan_for_s(kit, intake, 40) == []
    assert kit.tasks() == [TASK]


def test_what_was_spoilt_in_an_inbox_that_was_just_opened_ends_no_task(kit: SpoolKit) -> None:
    script, intake = send(kit) / "files" / "entrypoint.py", intake_of(kit)
    script.write_bytes(SCRIPT.upper())
    scan_for_s(kit, intake, 40)
    kit.spool.inbox.new.chmod(0o777)
    kit.now_s += 20  # it is faulty for a minute now, and the inbox was judged 20 s ago

    (message,) = intake.scan()
    assert message.startswith("No task is accepted: others could put tasks there. ")
    assert kit.tasks() == []
    kit.spool.inbox.new.chmod(0o700)
    scan_for_s(kit, intake, 40)
    assert read_journal(kit.spool, TASK).closed is not None


def _other_bytes(path: Path) -> None:
    path.write_bytes(SCRIPT.upper())


def _nothing(_path: Path) -> None:
    pass


@pytest.mark.parametrize("make", [make_link, make_second_name, os.mkfifo, Path.mkdir, _other_bytes, _nothing])
def test_a_faulty_bundle_is_rejected_after_a_minute_and_stops_no_other(
    kit: SpoolKit, make: Callable[[Path], None]
) -> None:
    script = send(kit) / "files" / "entrypoint.py"
    script.unlink()
    make(script)
    send(kit, OTHER)
    intake = intake_of(kit)
    assert "entrypoint.py" in scan_for_s(kit, intake, 40)[0]
    assert kit.tasks() == [OTHER]
    scan_for_s(kit, intake, 40)
    closed = read_journal(kit.spool, TASK).closed
    assert closed is not None
    assert closed.verdict.state == State.REJECTED
    assert "entrypoint.py" in closed.verdict.reason
    assert not kit.staged()


def test_a_bundle_that_becomes_whole_in_time_is_taken(kit: SpoolKit) -> None:
    bundle = send(kit, given=b"")
    intake = intake_of(kit)
    scan_for_s(kit, intake, 20)
    (bundle / "files" / "entrypoint.py").write_bytes(SCRIPT)
    assert scan_for_s(kit, intake, 80) == []
    assert read_journal(kit.spool, TASK).closed is None
    assert kit.manifest(TASK).task_id == TASK


def test_a_task_that_has_ended_is_not_taken_again(kit: SpoolKit) -> None:
    send(kit)
    kit.spool.tombstone(TASK).write_text("{}")
    assert intake_of(kit).scan() == []
    assert kit.tasks() == []


def test_a_folder_that_a_cancel_made_is_filled_and_keeps_its_cancel(kit: SpoolKit) -> None:
    control = kit.spool.task(TASK).control
    control.mkdir(parents=True)
    (control / "cancel").write_text("{}")
    send(kit)
    assert intake_of(kit).scan() == []
    assert kit.manifest(TASK).task_id == TASK
    assert (kit.spool.task(TASK).input / "entrypoint.py").read_bytes() == SCRIPT
    assert (control / "cancel").exists()


def test_a_late_second_agent_leaves_the_folders_of_a_running_job_alone(
    kit: SpoolKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hold made the folder, both agents copied; the first completes it and its job runs, then the second goes on."""
    folder = kit.spool.task(TASK)
    folder.control.mkdir(parents=True)
    send(kit)
    inodes: list[int] = []

    def lose_and_be_late(*arguments: Any) -> bool:
        monkeypatch.undo()
        is_ours = publish_task(*arguments)
        assert intake_of(kit).scan() == []
        inodes.extend(path.stat().st_ino for path in folder.folders)
        return is_ours

    monkeypatch.setattr("agent.intake.bundles.publish_task", lose_and_be_late)
    assert intake_of(kit).scan() == []

    assert inodes == [path.stat().st_ino for path in folder.folders]
    assert not kit.staged()


def test_a_name_that_is_no_task_is_told_and_left_alone(kit: SpoolKit) -> None:
    stray = kit.spool.inbox.new / "notes"
    stray.mkdir()
    assert "notes" in intake_of(kit).scan()[0]
    assert stray.exists()


def test_of_two_agents_that_take_the_same_bundles_one_wins_each(kit: SpoolKit) -> None:
    ids = [TaskId(f"{number:032x}") for number in range(20)]
    for task_id in ids:
        send(kit, task_id)
    start, said = threading.Barrier(2), []

    def run() -> None:
        intake = intake_of(kit)
        start.wait(10)
        said.extend(intake.scan())

    agents = [threading.Thread(target=run) for _ in range(2)]
    for agent in agents:
        agent.start()
    for agent in agents:
        agent.join(30)
    assert said == []
    assert kit.tasks() == ids
    assert all((kit.spool.task(task_id).input / "entrypoint.py").read_bytes() == SCRIPT for task_id in ids)
    assert not kit.staged()


def rewrite_manifest(bundle: Path, **fields: object) -> None:
    path = bundle / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize("fields", [{}, {"files": []}, {"files": "none", "submitted_at": "yesterday"}])
def test_a_faulty_bundle_can_be_listed_by_a_gateway_that_lost_its_rows(
    kit: SpoolKit, fields: dict[str, object]
) -> None:
    rewrite_manifest(send(kit, given=b""), **fields)
    scan_for_s(kit, intake_of(kit), 80)
    (again,) = read_last_reports(kit.spool)
    closed = read_journal(kit.spool, TASK).closed
    assert closed is not None
    assert again.manifest is not None
    assert (again.manifest.owner, again.manifest.source, again.manifest.cluster) == ("ana", "gateway", "atena02")
    assert again.manifest.config == json.loads(CONFIG)
    assert again.manifest.fault == closed.verdict.reason


@pytest.mark.parametrize(
    "fields",
    [{"task_id": OTHER}, {"owner": 1}, {"config": None}, {"config": {"a": "\x1b"}}, {"config": {"a": float("nan")}}],
)
def test_a_faulty_bundle_without_owner_and_config_is_rejected_as_it_is(
    kit: SpoolKit, fields: dict[str, object]
) -> None:
    rewrite_manifest(send(kit, given=b""), **fields)
    scan_for_s(kit, intake_of(kit), 80)
    assert read_journal(kit.spool, TASK).closed is not None
    assert not kit.spool.task(TASK).manifest.exists()


@pytest.mark.parametrize("raw", [b"", b"[]", b"[" * 100_000, b"\xff"])
def test_a_bundle_whose_manifest_is_no_object_is_rejected(kit: SpoolKit, raw: bytes) -> None:
    (send(kit) / "manifest.json").write_bytes(raw)
    scan_for_s(kit, intake_of(kit), 80)
    assert read_journal(kit.spool, TASK).closed is not None


@pytest.mark.parametrize("after", [False, True])
def test_a_faulty_bundle_killed_at_any_call_is_rejected_once_in_the_same_words(tmp_path: Path, *, after: bool) -> None:
    for nth in range(100):
        kit = SpoolKit(tmp_path / str(nth))
        send(kit, given=b"")
        intake = intake_of(kit)
        scan_for_s(kit, intake, 40)
        kit.now_s += 20
        was_killed = run_killed(intake.scan, nth, after=after)
        world = open_world(kit, CountedSlurm())
        for _ in range(5):
            world.run(after_s=20)
        said = {(report.state, report.message) for report in world.outbox.read_oldest(100) if report.closed}
        assert said == {(State.REJECTED, kit.manifest(TASK).fault)}
        if not was_killed:
            assert nth > 5
            return
    pytest.fail("the run never came to its end")
