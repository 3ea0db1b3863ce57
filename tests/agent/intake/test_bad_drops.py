"""A drop that cannot become a task is a rejected task: told to the gateway, written beside the place, and kept."""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace as change
from pathlib import Path
from typing import Any

import pytest

from agent.intake import private_copy
from agent.protocol.task_report import ReportDraft
from agent.spool.last_reports import read_last_reports
from agent.spool.observations import list_kept, save_observation
from agent.tasks import effects
from mltm.contract.reports import Report
from mltm.contract.states import State
from mltm.runtime import files
from mltm.runtime.hostile_files import Folder
from tests.agent.intake.test_kills import run_killed
from tests.agent.spool.build import CONFIG, SCRIPT, SpoolKit, make_link, make_second_name, send
from tests.agent.tasks.slurm_world import CountedSlurm, World, make_world, open_world


@pytest.fixture
def world(kit: SpoolKit) -> World[CountedSlurm]:
    return open_world(kit, CountedSlurm())


def run_for_s(world: World[CountedSlurm], seconds: int) -> list[str]:
    said = [*world.run().problems]
    for _ in range(0, seconds, 10):
        said += world.run(after_s=10).problems
    return said


def with_field(**fields: object) -> bytes:
    return json.dumps({**json.loads(CONFIG), **fields}).encode()


def check_rejected(world: World[CountedSlurm], name: str, message: str) -> Report:
    """One task, told of and written down as rejected, in the same words; nothing is under way any more."""
    spool = world.kit.spool
    (report,) = [r for r in world.outbox.read_oldest(100) if r.closed][-1:]
    assert (report.state, report.taken, report.attempt) == (State.REJECTED, True, 1)
    assert message in report.message
    receipt = json.loads((spool.drop / f"{name}.receipt.json").read_text())
    assert receipt["message"] == report.message
    assert (receipt["task_id"], receipt["state"], receipt["final"]) == (report.task_id, "rejected", True)
    assert os.path.lexists(spool.bad / report.task_id / name)
    assert str(spool.bad / report.task_id) in report.message
    assert (spool.bad / f"{report.task_id}.reason.txt").read_text() == report.message + "\n"
    assert spool.tombstone(world.kit.tasks()[0]).exists()
    assert world.kit.tasks() == [report.task_id]
    for folder in (spool.taking, spool.active):
        assert not files.list_names(folder)
    assert not world.slurm.calls
    return report


CONFIGS = {
    "a wrong field": (with_field(model_parms={}), "model_parms", "no such field"),
    "an owner": (with_field(owner="ana"), "owner", "no such field"),
    "no JSON": (CONFIG[:50], None, "valid JSON"),
    "no object": (b"[1]", None, "JSON object"),
    "no UTF-8": (b'{"a": "\xff"}', None, "UTF-8"),
    "too large": (b" " * (1024 * 1024) + CONFIG, None, "1,048,576 bytes"),
    "NaN": (with_field(model_params={"a": float("nan")}), None, "NaN"),
    "no number": (with_field(x=1).replace(b'"x": 1', b'"x": 1e999'), None, "no such field"),
    "control characters": (with_field(experiment_name="\x1b[2J"), None, "control characters"),
    "half a letter": (with_field(experiment_name="\ud800"), None, "experiment_name"),
    "a name of control characters": (with_field(**{"\x1b[2J": 1}), None, "no such field"),
    "a deep value": (with_field(x=json.loads("[" * 300 + "]" * 300)), None, "no such field"),
    "another cluster": (
        with_field(runner_location="b", clusters={"b": json.loads(CONFIG)["clusters"]["atena02"]}), "clusters", "'b'"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CONFIGS)
def test_a_config_that_can_be_no_task_is_a_rejected_task(world: World[CountedSlurm], case: str) -> None:
    raw, carried, message = CONFIGS[case]
    world.kit.drop("run.json", raw)
    world.kit.drop("train.py", SCRIPT)
    run_for_s(world, 620)
    report = check_rejected(world, "run.json", message)
    assert "'run.json'" in report.message
    assert report.message.isprintable()
    assert report.manifest is not None
    assert report.manifest.source == "drop"
    assert report.manifest.config == {} if carried is None else carried in report.manifest.config
    is_named = b"train.py" in raw and not raw.startswith(b" ") and "JSON" not in message and message != "NaN"
    place = world.kit.spool.bad / report.task_id if is_named else world.kit.spool.drop
    assert (place / "train.py").exists()


def _nothing(_path: Path) -> None:
    pass


FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a link": (make_link, "symbolic link"),
    "a second name": (make_second_name, "hard links"),
    "a FIFO": (os.mkfifo, "not a regular file"),
    "a folder": (Path.mkdir, "not a regular file"),
    "nothing": (_nothing, "'train.py' is missing"),
    "an empty file": (Path.touch, "is empty"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_script_that_is_no_plain_file_makes_a_rejected_task(world: World[CountedSlurm], case: str) -> None:
    make, message = FILES[case]
    world.kit.drop("night.ready/config.json", CONFIG)
    make(world.kit.spool.drop / "night.ready" / "train.py")
    run_for_s(world, 620)
    assert check_rejected(world, "night.ready", message).manifest is not None


@pytest.mark.parametrize("make", [make_link, os.mkfifo])
def test_a_config_that_is_no_plain_file_makes_a_rejected_task(
    world: World[CountedSlurm], make: Callable[[Path], None]
) -> None:
    make(world.kit.spool.drop / "run.json")
    run_for_s(world, 40)
    check_rejected(world, "run.json", "run.json")


def test_what_the_agent_may_not_read_is_given_up_in_words(
    world: World[CountedSlurm], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = private_copy.open_source

    def deny(folder: Folder, name: str, **options: Any) -> Any:
        if name == "train.py":
            raise PermissionError(13, "Permission denied", name)
        return opened(folder, name, **options)

    monkeypatch.setattr("agent.intake.drop_contents.open_source", deny)
    world.kit.drop("run.json", CONFIG)
    world.kit.drop("train.py", SCRIPT)
    run_for_s(world, 640)
    check_rejected(world, "run.json", "may not read 'train.py'")


@pytest.mark.parametrize("name", ["train.py", "config.json", "rows.csv", "../outside"])
def test_what_is_not_as_its_checksums_say_is_not_run(world: World[CountedSlurm], name: str) -> None:
    world.kit.drop("night/config.json", CONFIG)
    world.kit.drop("night/train.py", SCRIPT)
    world.kit.drop("night/MANIFEST.sha256", f"{hashlib.sha256(b'more').hexdigest()}  {name}\n".encode())
    run_for_s(world, 40)
    check_rejected(world, "night", f"{name!r} is missing, or differs from its checksum in MANIFEST.sha256")


def test_a_faulty_drop_stops_no_other(world: World[CountedSlurm]) -> None:
    world.kit.drop("a.json", with_field(model_parms={}))
    for name in ("b.json", "b" * 250 + ".json"):
        world.kit.drop(name, CONFIG)
    world.kit.drop("train.py", SCRIPT)
    run_for_s(world, 40)
    faults = [bool(world.kit.manifest(task_id).fault) for task_id in world.kit.tasks()]
    assert sorted(faults) == [False, False, True]


def test_a_folder_in_the_receipts_place_keeps_no_task_from_its_end(world: World[CountedSlurm]) -> None:
    (world.kit.spool.drop / "run.json.receipt.json").mkdir()
    world.kit.drop("run.json", with_field(model_parms={}))
    run_for_s(world, 60)
    assert [report.state for report in world.outbox.read_oldest(100)] == [State.REJECTED]
    assert not list(world.kit.spool.active.iterdir())


def look_again_and_again(world: World[CountedSlurm]) -> None:
    for _ in range(4):
        world.ring()
        world.run(after_s=1)


def forget_receipts(world: World[CountedSlurm]) -> None:
    for kept in list_kept(world.kit.spool, world.task_id):
        before = change(kept, told=change(kept.told, receipted=""))
        save_observation(world.kit.spool, world.task_id, before, world.kit.clock)


def test_a_receipt_that_failed_is_written_at_the_next_look_and_not_again_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[State] = []

    def fail_at_first(_spool: object, _task_id: object, draft: ReportDraft, _clock: object) -> bool:
        tries.append(draft.state)
        if len(tries) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return True

    world = make_world(tmp_path)
    send(world.kit)
    look_again_and_again(world)
    forget_receipts(world)
    monkeypatch.setattr(effects, "update_receipt", fail_at_first)
    look_again_and_again(world.start_again())

    assert tries == [State.PENDING] * 2


def test_the_last_receipt_is_tried_until_it_is_there_and_the_end_is_told_once_and_at_once(
    world: World[CountedSlurm], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_for_receipts(path: Path, *rest: Any) -> None:
        if path.name.endswith(".receipt.json"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        replace(path, *rest)

    replace = files.replace
    monkeypatch.setattr(files, "replace", fail_for_receipts)
    world.kit.drop("run.json", with_field(model_parms={}))
    said = run_for_s(world, 60)
    (task_id,) = world.kit.tasks()
    assert any("run.json.receipt.json" in message and task_id in message for message in said), said
    assert world.states() == [State.REJECTED]
    monkeypatch.undo()
    run_for_s(world, 30)

    check_rejected(world, "run.json", "model_parms")
    assert world.states() == [State.REJECTED]


def drop_file(kit: SpoolKit) -> str:
    kit.drop("run.json", with_field(model_parms={}))
    kit.drop("run.json.ready", b"")
    return "run.json"


def drop_folder(kit: SpoolKit) -> str:
    kit.drop("night.ready/config.json", with_field(model_parms={}))
    kit.drop("night.ready/train.py", SCRIPT)
    return "night.ready"


def kills(tmp_path: Path, drop: Callable[[SpoolKit], str], *, after: bool) -> Iterator[tuple[World[CountedSlurm], str]]:
    """A fresh process for every instant at which the one before it can have been killed."""
    for nth in range(300):
        kit = SpoolKit(tmp_path / str(nth))
        name, slurm = drop(kit), CountedSlurm()
        first = open_world(kit, slurm)
        was_killed = run_killed(first.run, nth, after=after)
        yield open_world(kit, slurm), name
        if not was_killed:
            assert nth > 20
            return
    pytest.fail("the run never came to its end")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("drop", [drop_file, drop_folder])
def test_killed_at_any_call_it_is_still_told_of_and_kept(
    tmp_path: Path, drop: Callable[[SpoolKit], str], *, after: bool
) -> None:
    for world, name in kills(tmp_path, drop, after=after):
        run_for_s(world, 40)
        report = check_rejected(world, name, "model_parms")
        assert report.manifest is not None
        assert "model_parms" in report.manifest.config


def test_a_gateway_that_lost_its_memory_is_told_again_even_without_the_tasks_folder(world: World[CountedSlurm]) -> None:
    drop_file(world.kit)
    run_for_s(world, 10)
    told = check_rejected(world, "run.json", "model_parms")
    here = list(read_last_reports(world.kit.spool))
    (world.kit.spool.tasks / told.task_id).rename(world.kit.root / "away")
    for (again,) in (here, list(read_last_reports(world.kit.spool))):
        assert (again.state, again.closed, again.message) == (State.REJECTED, True, told.message)
        assert again.manifest == told.manifest
