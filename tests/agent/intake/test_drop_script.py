"""The script of a single config leaves drop/ with its last task: a task runs what came with its config, or nothing."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.intake import drop_task
from agent.intake.drop_contents import find_source, read_drop
from mltm.runtime import files
from tests.agent.intake.test_bad_drops import with_field
from tests.agent.intake.test_drop_race import scan_by_two_agents
from tests.agent.intake.test_drop_writers import rename_over, write_blocks
from tests.agent.intake.test_drops import check_one_task, drops_of, pass_s
from tests.agent.intake.test_kills import run_killed
from tests.agent.spool.build import CONFIG, SCRIPT, SpoolKit
from tests.agent.tasks.slurm_world import CountedSlurm, open_world

NEW = SCRIPT.upper()


def scripts(kit: SpoolKit) -> dict[str, bytes]:
    """What each task runs, by the name of its config."""
    spool, found = kit.spool, {}
    for task_id in kit.tasks():
        script = spool.task(task_id).input / "entrypoint.py"
        name = json.loads((spool.task(task_id).control / "receipt").read_bytes())["name"]
        found[name] = script.read_bytes() if script.exists() else kit.manifest(task_id).fault.encode()
    return found


def check_clean(kit: SpoolKit, *left: str) -> None:
    assert files.list_names(kit.spool.drop) == list(left)
    for folder in (kit.spool.taking, kit.spool.bad):
        assert not list(folder.iterdir())


def drop_all(kit: SpoolKit, *configs: str) -> None:
    kit.drop("train.py", SCRIPT)
    for name in configs:
        kit.drop(name, CONFIG)


def test_a_later_config_waits_for_its_own_script(kit: SpoolKit) -> None:
    drop_all(kit, "one.json")
    drops = drops_of(kit)
    pass_s(kit, drops, 60)
    kit.drop("two.json", CONFIG)
    pass_s(kit, drops, 70)
    kit.drop("train.py", NEW)
    pass_s(kit, drops, 40)
    assert scripts(kit) == {"one.json": SCRIPT, "two.json": NEW}
    check_clean(kit)


def test_a_later_config_without_a_script_is_rejected_in_words(kit: SpoolKit) -> None:
    drop_all(kit, "one.json")
    drops = drops_of(kit)
    pass_s(kit, drops, 60)
    kit.drop("two.json", CONFIG)
    (said,) = pass_s(kit, drops, 620)
    assert "'train.py' is missing. Copy it again, with its config." in said


def test_the_last_config_of_a_batch_takes_the_script_away(kit: SpoolKit) -> None:
    names = [f"run{number}.json" for number in range(5)]
    drop_all(kit, *names[:3])
    drops = drops_of(kit)
    pass_s(kit, drops, 20)
    for name in names[3:]:
        kit.drop(name, CONFIG)
    pass_s(kit, drops, 10)
    assert list(scripts(kit)) == names[:3]
    assert files.list_names(kit.spool.drop) == [*names[3:], "train.py"]
    pass_s(kit, drops, 20)
    assert scripts(kit) == dict.fromkeys(names, SCRIPT)
    check_clean(kit)


def test_a_script_written_anew_between_two_configs_is_the_second_ones(kit: SpoolKit) -> None:
    drop_all(kit, "one.json")
    drops = drops_of(kit)
    pass_s(kit, drops, 20)
    kit.drop("two.json", CONFIG)
    pass_s(kit, drops, 10)
    rename_over(kit.spool.drop / "train.py", NEW)
    pass_s(kit, drops, 20)
    assert scripts(kit) == {"one.json": SCRIPT}
    pass_s(kit, drops, 20)
    assert scripts(kit) == {"one.json": SCRIPT, "two.json": NEW}
    check_clean(kit)


@pytest.mark.parametrize("other", [CONFIG[:50], with_field(model_parms={}), with_field(script_path="b.py")])
def test_what_names_no_script_or_another_keeps_none_back(kit: SpoolKit, other: bytes) -> None:
    drop_all(kit, "one.json")
    kit.drop("one.json.ready", b"")
    kit.drop("two.json", other)
    drops_of(kit).scan()
    check_clean(kit, "two.json")


def test_the_script_of_a_faulty_config_is_kept_with_it(kit: SpoolKit) -> None:
    kit.drop("train.py", SCRIPT)
    kit.drop("run.json", with_field(model_parms={}))
    pass_s(kit, drops_of(kit), 30)
    (task_id,) = kit.tasks()
    assert files.list_names(kit.spool.bad / task_id) == ["run.json", "train.py"]
    assert not files.list_names(kit.spool.drop)


def test_a_script_that_is_a_config_itself_is_not_taken_along(kit: SpoolKit) -> None:
    kit.drop("run.json", with_field(script_path="train.json"))
    kit.drop("train.json", with_field(script_path="more.py"))
    kit.drop("run.json.ready", b"")
    drops_of(kit).scan()
    assert list(scripts(kit)) == ["run.json"]
    check_clean(kit, "train.json")


def test_the_receipt_names_the_hash_of_what_ran(kit: SpoolKit) -> None:
    drop_all(kit, "run.json")
    world = open_world(kit, CountedSlurm())
    for _ in range(5):
        world.run(after_s=10)
    receipt = json.loads((kit.spool.drop / "run.json.receipt.json").read_bytes())
    assert receipt["script_sha256"] == hashlib.sha256(SCRIPT).hexdigest()


@pytest.mark.parametrize("after", [False, True])
def test_a_batch_killed_at_any_call_runs_its_script_once_each(tmp_path: Path, *, after: bool) -> None:
    def drop(kit: SpoolKit) -> None:
        drop_all(kit, "one.json", "two.json")
        for name in ("one.json.ready", "two.json.ready"):
            kit.drop(name, b"")

    for kit in _kills(tmp_path, drop, after=after):
        assert pass_s(kit, drops_of(kit), 50) == []
        assert scripts(kit) == {"one.json": SCRIPT, "two.json": SCRIPT}
        assert len(kit.tasks()) == 2
        check_clean(kit)


@pytest.mark.parametrize("after", [False, True])
def test_a_new_drop_after_a_kill_runs_its_own_script(tmp_path: Path, *, after: bool) -> None:
    """As soon as the first task is there, its script may be written anew: nothing takes the new one away."""

    def drop(kit: SpoolKit) -> None:
        drop_all(kit, "one.json")
        kit.drop("one.json.ready", b"")

    for kit in _kills(tmp_path, drop, after=after):
        drops = drops_of(kit)
        if not kit.tasks():
            pass_s(kit, drops, 50)
        script = kit.spool.drop / "train.py"
        (write_blocks if script.exists() else rename_over)(script, NEW)  # of the same size and mtime, where it is there
        assert pass_s(kit, drops, 50) == []
        check_clean(kit, "train.py")
        kit.drop("two.json", CONFIG)
        assert pass_s(kit, drops, 50) == []
        assert scripts(kit) == {"one.json": SCRIPT, "two.json": NEW}
        check_clean(kit)


def _kills(tmp_path: Path, drop: Callable[[SpoolKit], None], *, after: bool) -> list[SpoolKit]:
    found = []
    for nth in range(300):
        kit = SpoolKit(tmp_path / str(nth))
        drop(kit)
        was_killed = run_killed(drops_of(kit).scan, nth, after=after)
        found.append(kit)
        if not was_killed:
            assert nth > 10
            return found
    pytest.fail("the run never came to its end")


def test_two_agents_share_a_script_and_leave_none_behind(tmp_path: Path) -> None:
    names = [f"run{number}.json" for number in range(6)]
    for turn in range(5):
        kit = SpoolKit(tmp_path / str(turn))
        drop_all(kit, *names)
        for name in names:
            kit.drop(f"{name}.ready", b"")
        scan_by_two_agents(kit)
        pass_s(kit, drops_of(kit), 50)
        assert scripts(kit) == dict.fromkeys(names, SCRIPT)
        assert len(kit.tasks()) == len(names)
        check_clean(kit)


def test_a_config_that_another_agent_is_taking_keeps_its_script(kit: SpoolKit, monkeypatch: pytest.MonkeyPatch) -> None:
    drop_all(kit, "one.json", "two.json")
    kit.drop("one.json.ready", b"")
    drops, other = drops_of(kit), drops_of(kit)
    monkeypatch.setattr(other, "_continue", lambda *_: "")
    other._take("two.json", read_drop(find_source(kit.spool.drop, "two.json", kit.spool.drop)))
    drops.scan()
    assert list(scripts(kit)) == ["one.json"]
    pass_s(kit, drops, 40)
    assert scripts(kit) == {"one.json": SCRIPT, "two.json": SCRIPT}
    check_clean(kit)


def test_who_loses_the_rename_leaves_the_next_script_alone(kit: SpoolKit, monkeypatch: pytest.MonkeyPatch) -> None:
    drop_all(kit, "run.json")
    kit.drop("run.json.ready", b"")
    first, second = drops_of(kit), drops_of(kit)

    def move(source: Path, target: Path, move: Callable[[Path, Path], bool] = files.move) -> bool:
        monkeypatch.undo()
        kit.drop("run.json.ready", b"")  # the second has removed it
        first.scan()
        kit.drop("train.py", NEW)
        return move(source, target)

    monkeypatch.setattr(files, "move", move)
    pass_s(kit, second, 40)
    check_one_task(kit)
    check_clean(kit, "train.py")
    assert (kit.spool.drop / "train.py").read_bytes() == NEW


@pytest.mark.parametrize("is_written_again", [False, True])
def test_a_script_replaced_at_its_rename_is_given_back_or_kept(
    kit: SpoolKit, monkeypatch: pytest.MonkeyPatch, *, is_written_again: bool
) -> None:
    drop_all(kit, "run.json")
    kit.drop("run.json.ready", b"")
    script = kit.spool.drop / "train.py"

    def move(source: Path, target: Path, move: Callable[[Path, Path], bool] = files.move) -> bool:
        if source != script:
            return move(source, target)
        rename_over(script, NEW + b"#")
        is_ours = move(source, target)
        if is_written_again:
            script.write_bytes(NEW)
        return is_ours

    monkeypatch.setattr(files, "move", move)
    said = drops_of(kit).scan()
    assert scripts(kit) == {"run.json": SCRIPT}
    (task_id,) = kit.tasks()
    if is_written_again:
        assert "did not use all files" in said[0]
        assert (kit.spool.bad / task_id / "train.py").read_bytes() == NEW + b"#"
        assert script.read_bytes() == NEW
    else:
        assert script.read_bytes() == NEW + b"#"
        check_clean(kit, "train.py")


def test_a_folder_of_the_scripts_name_is_a_drop_of_its_own(kit: SpoolKit) -> None:
    kit.drop("run.json", CONFIG)
    kit.drop("train.py/rows.csv", b"1,2\n")
    pass_s(kit, drops_of(kit), 40)
    (task_id,) = kit.tasks()
    assert files.list_names(kit.spool.bad / task_id) == ["run.json"]
    assert files.list_names(kit.spool.drop) == ["train.py"]


@pytest.mark.parametrize("before", [b"", CONFIG[:50], with_field(script_path="b.py")])
def test_a_config_that_is_completed_while_another_ones_task_is_made_keeps_its_script(
    kit: SpoolKit, monkeypatch: pytest.MonkeyPatch, before: bytes
) -> None:
    """It was seen in the same round, and did not name the script then."""

    def copy_and_complete(*arguments: Any) -> Any:
        (kit.spool.drop / "two.json").write_bytes(CONFIG)
        return copy_all(*arguments)

    copy_all = drop_task._copy_all
    monkeypatch.setattr(drop_task, "_copy_all", copy_and_complete)
    drop_all(kit, "one.json")
    kit.drop("one.json.ready", b"")
    kit.drop("two.json", before)
    drops_of(kit).scan()

    assert scripts(kit) == {"one.json": SCRIPT}
    assert (kit.spool.drop / "train.py").read_bytes() == SCRIPT
