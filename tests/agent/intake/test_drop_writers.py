"""However files are brought, and whenever they change on the way: one task, of what was whole in the end."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.intake import drop_task
from agent.intake.drops import DropIntake
from mltm.runtime import files
from tests.agent.intake.test_drops import check_one_task, drops_of, pass_s
from tests.agent.spool.build import CONFIG, SCRIPT, SpoolKit

OLD = b"#" * len(SCRIPT)
Put = Callable[[Path, bytes], object]


def copy_in_place(script: Path, data: bytes) -> None:
    """As scp and cp write: the same file, cut off and filled again."""
    script.write_bytes(data)


def rename_over(script: Path, data: bytes) -> None:
    """As rsync and editors do: another file takes the name."""
    other = script.with_name(".train.py.Xy12aB")
    other.write_bytes(data)
    other.replace(script)


def write_blocks(script: Path, data: bytes) -> None:
    """As rsync --inplace --times: the size stays, and the time is set back."""
    mtime_ns = script.stat().st_mtime_ns
    with script.open("r+b") as file:
        file.write(data)
    os.utime(script, ns=(mtime_ns, mtime_ns))


def remove_first(script: Path, data: bytes) -> None:
    if script.exists():
        script.unlink()
    else:
        script.write_bytes(data)


@dataclass
class Writer:
    """Begins to write the script anew at one instant of its drop's being taken, and ends when told to."""

    kit: SpoolKit
    put: Put
    has_begun: bool = False

    def begin(self) -> None:
        if not self.has_begun:
            self.has_begun = True
            self.put(self._find(), SCRIPT[:4])

    def end(self) -> None:
        self.put(self._find(), SCRIPT)

    def _find(self) -> Path:
        """The script's place: a writer that is in a folder goes with it."""
        return [*self.kit.spool.taking.rglob("night"), *self.kit.spool.drop.glob("night"), self.kit.spool.drop][
            0
        ] / "train.py"


def before_the_rename(patch: pytest.MonkeyPatch, writer: Writer) -> None:
    def move(source: Path, target: Path, move: Callable[[Path, Path], bool] = files.move) -> bool:
        writer.begin()
        return move(source, target)

    patch.setattr(files, "move", move)


def after_the_rename(patch: pytest.MonkeyPatch, writer: Writer) -> None:
    def move(source: Path, target: Path, move: Callable[[Path, Path], bool] = files.move) -> bool:
        is_ours = move(source, target)
        writer.begin()
        return is_ours

    patch.setattr(files, "move", move)


def after_the_copy(patch: pytest.MonkeyPatch, writer: Writer) -> None:
    copy = drop_task._copy_all

    def copy_all(*given: Any) -> object:
        listed = copy(*given)
        writer.begin()
        return listed

    patch.setattr(drop_task, "_copy_all", copy_all)


@pytest.mark.parametrize("moment", [before_the_rename, after_the_rename, after_the_copy])
@pytest.mark.parametrize("put", [copy_in_place, rename_over, write_blocks, remove_first])
@pytest.mark.parametrize("folder", ["", "night/"])
def test_a_script_that_changes_while_its_drop_is_taken_is_waited_for(
    kit: SpoolKit,
    monkeypatch: pytest.MonkeyPatch,
    folder: str,
    put: Put,
    moment: Callable[[pytest.MonkeyPatch, Writer], None],
) -> None:
    kit.drop(f"{folder}run.json", CONFIG)
    kit.drop(f"{folder}train.py", OLD)
    writer, drops = Writer(kit, put), drops_of(kit)
    moment(monkeypatch, writer)
    pass_s(kit, drops, 50)
    assert writer.has_begun
    assert not kit.tasks()
    writer.end()
    pass_s(kit, drops, 20)
    assert not kit.tasks()
    pass_s(kit, drops, 20)
    check_one_task(kit)


def test_a_config_that_is_written_on_through_its_rename_is_waited_for(kit: SpoolKit) -> None:
    kit.drop("train.py", SCRIPT)
    drops = drops_of(kit)
    with (kit.spool.drop / "run.json").open("wb") as writer:
        writer.write(CONFIG[:50])
        writer.flush()
        pass_s(kit, drops, 590)
        writer.write(CONFIG[50:60])
        writer.flush()
        kit.now_s += 10
        drops.scan()
        writer.write(CONFIG[60:])
    pass_s(kit, drops, 40)
    check_one_task(kit)


@pytest.mark.parametrize("is_declared", [False, True])
def test_a_config_that_comes_first_waits_for_its_script(kit: SpoolKit, *, is_declared: bool) -> None:
    kit.drop("run.json", CONFIG)
    if is_declared:
        kit.drop("run.json.ready", b"")
    drops = drops_of(kit)
    pass_s(kit, drops, 300)
    assert not kit.tasks()
    kit.drop("train.py", SCRIPT)
    pass_s(kit, drops, 30)
    check_one_task(kit)


@pytest.mark.parametrize("mtime_s", [0, 10**9, 4 * 10**9])
def test_files_that_are_moved_in_with_any_time_on_them_are_taken_once_quiet(
    kit: SpoolKit, tmp_path: Path, mtime_s: int
) -> None:
    for name, data in (("train.py", SCRIPT), ("run.json", CONFIG)):
        (tmp_path / name).write_bytes(data)
        os.utime(tmp_path / name, (mtime_s, mtime_s))
        (tmp_path / name).rename(kit.spool.drop / name)
    drops = drops_of(kit)
    pass_s(kit, drops, 20)
    assert not kit.tasks()
    pass_s(kit, drops, 10)
    check_one_task(kit)


def test_a_copy_under_a_passing_name_counts_from_its_rename(kit: SpoolKit) -> None:
    kit.drop("train.py", SCRIPT)
    passing = kit.drop(".run.json.Xy12aB", CONFIG)
    drops = drops_of(kit)
    pass_s(kit, drops, 700)
    assert not kit.tasks()
    passing.rename(kit.spool.drop / "run.json")
    pass_s(kit, drops, 20)
    assert not kit.tasks()
    pass_s(kit, drops, 10)
    check_one_task(kit)


def test_what_an_editor_saves_after_the_take_is_a_drop_of_its_own(kit: SpoolKit) -> None:
    kit.drop("train.py", SCRIPT)
    kit.drop("run.json", CONFIG)
    drops = drops_of(kit)
    pass_s(kit, drops, 30)
    check_one_task(kit)
    kit.drop("train.py", SCRIPT)
    kit.drop("run.json~", CONFIG).rename(kit.spool.drop / "run.json")
    pass_s(kit, drops, 30)
    assert len(kit.tasks()) == 2


def test_two_configs_share_a_script(kit: SpoolKit) -> None:
    kit.drop("train.py", SCRIPT)
    for name in ("one.json", "two.json"):
        kit.drop(name, CONFIG)
    pass_s(kit, drops_of(kit), 30)
    assert [(kit.spool.task(t).input / "entrypoint.py").read_bytes() for t in kit.tasks()] == [SCRIPT, SCRIPT]


def test_another_agent_leaves_alone_what_this_one_is_taking(kit: SpoolKit, monkeypatch: pytest.MonkeyPatch) -> None:
    kit.drop("night.ready/config.json", CONFIG)
    kit.drop("night.ready/train.py", SCRIPT)
    first, second = drops_of(kit), drops_of(kit)
    copy, looks = drop_task._copy_all, iter([True])

    def copy_slowly(*given: Any) -> object:
        if next(looks, False):
            second.scan()
            assert not kit.tasks()
        return copy(*given)

    monkeypatch.setattr(drop_task, "_copy_all", copy_slowly)
    first.scan()
    check_one_task(kit)


def test_what_a_dead_agent_was_taking_is_finished_by_another(kit: SpoolKit, monkeypatch: pytest.MonkeyPatch) -> None:
    kit.drop("night.ready/config.json", CONFIG)
    kit.drop("night.ready/train.py", SCRIPT)
    monkeypatch.setattr(DropIntake, "_continue", lambda *_: "")
    drops_of(kit).scan()
    monkeypatch.undo()
    assert not kit.tasks()
    pass_s(kit, drops_of(kit), 30)
    check_one_task(kit)
