"""Drops: nothing half-written is started, nothing whole is missed, and what is wrong is said and kept."""

import dataclasses
import hashlib
import secrets
from collections.abc import Callable

import pytest

from agent.intake import drop_checksums, drop_contents, drop_script, drop_task
from agent.intake import drops as drops_module
from agent.intake.drops import DropIntake
from agent.spool import file_stamp
from agent.spool.file_stamp import FileStamp, read_stamp
from mltm.runtime.hostile_files import Folder
from tests.agent.spool.build import CONFIG, SCRIPT, SpoolKit


def drops_of(kit: SpoolKit) -> DropIntake:
    return DropIntake(kit.spool, kit.settings, kit.clock)


def pass_s(kit: SpoolKit, drops: DropIntake, seconds: int) -> list[str]:
    said = drops.scan()
    for _ in range(0, seconds, 10):
        kit.now_s += 10
        said += drops.scan()
    return said


def check_one_task(kit: SpoolKit) -> None:
    (task_id,) = kit.tasks()
    manifest = kit.manifest(task_id)
    assert (kit.spool.task(task_id).input / "entrypoint.py").read_bytes() == SCRIPT
    assert (manifest.source, manifest.owner, manifest.script_name) == ("drop", "", "train.py")
    assert (kit.spool.active / task_id).exists()
    assert not list(kit.spool.taking.iterdir())
    assert not kit.staged()


def test_files_without_a_word_are_taken_when_they_were_quiet(kit: SpoolKit) -> None:
    kit.drop("run.json", CONFIG)
    kit.drop("train.py", SCRIPT)
    drops = drops_of(kit)
    pass_s(kit, drops, 20)
    assert not kit.tasks()
    assert drops.is_watching
    assert pass_s(kit, drops, 10) == []
    check_one_task(kit)
    assert not drops.is_watching


def test_a_sentinel_says_whole_at_once_and_goes_with_its_drop(kit: SpoolKit) -> None:
    kit.drop("run.json", CONFIG)
    kit.drop("train.py", SCRIPT)
    kit.drop("run.json.ready", b"")
    drops_of(kit).scan()
    check_one_task(kit)
    assert not (kit.spool.drop / "run.json.ready").exists()


def test_a_folder_that_is_called_ready_is_taken_at_once(kit: SpoolKit) -> None:
    kit.drop("night.ready/config.json", CONFIG)
    kit.drop("night.ready/train.py", SCRIPT)
    kit.drop("night.ready/rows.csv", b"1,2\n")
    drops_of(kit).scan()
    check_one_task(kit)
    assert (kit.spool.task(kit.tasks()[0]).input / "rows.csv").read_bytes() == b"1,2\n"
    assert not (kit.spool.drop / "night.ready").exists()


@pytest.mark.parametrize("is_right", [True, False])
def test_checksums_say_whole_at_once_only_where_they_are_right(kit: SpoolKit, is_right: bool) -> None:
    parts = {"config.json": CONFIG, "train.py": SCRIPT}
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}" for name, data in parts.items()]
    for name, data in parts.items():
        kit.drop(f"night/{name}", data)
    kit.drop("night/MANIFEST.sha256", "\n".join(lines if is_right else lines[:1]).encode())
    drops = drops_of(kit)
    drops.scan()
    drops.scan()
    assert bool(kit.tasks()) is is_right
    pass_s(kit, drops, 30)
    check_one_task(kit)


def test_files_that_still_grow_are_not_hashed_and_none_is_hashed_twice_for_nothing(
    kit: SpoolKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []

    def hash_counted(folder: Folder, name: str, read: Callable[[Folder, str], str] = drop_checksums._hash) -> str:
        hashed.append(name)
        return read(folder, name)

    monkeypatch.setattr(drop_checksums, "_hash", hash_counted)
    parts = {"config.json": CONFIG, "train.py": SCRIPT}
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}" for name, data in parts.items()]
    kit.drop("night/config.json", CONFIG)
    kit.drop("night/MANIFEST.sha256", "\n".join(lines).encode())
    drops = drops_of(kit)
    for number in range(1, 5):
        kit.drop("night/train.py", SCRIPT[:number])
        drops.scan()
    assert hashed == []
    for _ in range(5):
        drops.scan()
    assert hashed == ["config.json", "train.py"]
    kit.drop("night/train.py", SCRIPT)
    drops.scan()
    drops.scan()
    check_one_task(kit)


def test_a_sentinel_older_than_what_it_names_is_no_sign(kit: SpoolKit) -> None:
    kit.drop("run.json.ready", b"")
    came_ns = (kit.spool.drop / "run.json.ready").stat().st_ctime_ns
    while kit.drop("run.json", CONFIG).stat().st_ctime_ns == came_ns:
        pass  # the file system's clock ticks every few milliseconds
    kit.drop("train.py", SCRIPT)
    drops = drops_of(kit)
    pass_s(kit, drops, 20)
    assert not kit.tasks()
    pass_s(kit, drops, 10)
    check_one_task(kit)
    assert not (kit.spool.drop / "run.json.ready").exists()


def test_what_is_still_written_is_never_started(kit: SpoolKit) -> None:
    kit.drop("run.json", CONFIG)
    drops, script = drops_of(kit), kit.drop("train.py", b"")
    for number in range(1, 40):
        script.write_bytes(b"#" * number)
        kit.now_s += 10
        drops.scan()
    assert not kit.tasks()
    script.write_bytes(SCRIPT)
    pass_s(kit, drops, 40)
    check_one_task(kit)


def test_names_of_editors_and_of_copies_on_the_way_are_left_alone(kit: SpoolKit) -> None:
    names = [".run.json.Xy12", "run.json~", "run.json.part", "run.json.tmp", "#run.json#", ".nfs0001"]
    for name in names:
        kit.drop(name, CONFIG)
    assert pass_s(kit, drops_of(kit), 700) == []
    assert sorted(path.name for path in kit.spool.drop.iterdir()) == sorted(names)


@pytest.mark.parametrize("name", ["a b.json", "-n.json", "two\nlines.json", "\udcff.json"])
def test_an_odd_name_of_a_config_is_no_trouble(kit: SpoolKit, name: str) -> None:
    kit.drop(name, CONFIG)
    kit.drop("train.py", SCRIPT)
    pass_s(kit, drops_of(kit), 30)
    check_one_task(kit)


def test_the_same_content_dropped_again_is_a_new_task(kit: SpoolKit) -> None:
    drops = drops_of(kit)
    for _ in range(2):
        kit.drop("train.py", SCRIPT)
        kit.drop("run.json", CONFIG)
        pass_s(kit, drops, 30)
    assert len(kit.tasks()) == 2


@pytest.mark.parametrize(("config", "message"), [(CONFIG[:50], "JSON"), (CONFIG, "train.py")])
def test_a_drop_that_never_becomes_whole_is_given_up_after_ten_minutes(
    kit: SpoolKit, config: bytes, message: str
) -> None:
    kit.drop("run.json", config)
    drops = drops_of(kit)
    assert pass_s(kit, drops, 590) == []
    assert message in pass_s(kit, drops, 20)[0]
    assert message in kit.manifest(kit.tasks()[0]).fault


def test_a_script_that_changes_during_the_copy_waits_for_quiet_again(
    kit: SpoolKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.drop("night.ready/config.json", CONFIG)
    kit.drop("night.ready/train.py", b"print(")
    copy = drop_task._copy_all

    def write_meanwhile(*arguments: object) -> object:
        monkeypatch.undo()
        listed = copy(*arguments)  # type: ignore[arg-type]  # handed through
        next(kit.spool.taking.rglob("train.py")).write_bytes(SCRIPT)
        return listed

    monkeypatch.setattr(drop_task, "_copy_all", write_meanwhile)
    drops = drops_of(kit)
    drops.scan()
    assert not kit.tasks()
    assert drops.is_watching
    pass_s(kit, drops, 20)
    assert not kit.tasks()
    pass_s(kit, drops, 20)
    check_one_task(kit)


def fill(kit: SpoolKit, count: int) -> None:
    for number in range(count):
        kit.drop(f"run{number:02}.json", CONFIG.replace(b"train.py", b"train%d.py" % number))
        kit.drop(f"train{number}.py", SCRIPT)
        kit.drop(f"run{number:02}.json.ready", b"")


def test_each_of_many_drops_is_read_a_few_times_and_not_once_for_every_other(
    kit: SpoolKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []

    def count(source: drop_contents.DropSource) -> drop_contents.DropContents:
        reads.append(source.name)
        return read_drop(source)

    read_drop = drop_contents.read_drop
    for module in (drops_module, drop_task, drop_script):
        monkeypatch.setattr(module, "read_drop", count)
    fill(kit, 30)
    drops_of(kit).scan()

    assert len(kit.tasks()) == 30
    assert max(reads.count(name) for name in set(reads)) <= 4


def slow_drops(kit: SpoolKit) -> DropIntake:
    """Takes two seconds for each drop that is taken: an id is made once for each."""

    def take_long(count: int) -> bytes:
        kit.now_s += 2 if count == 10 else 0
        return secrets.token_bytes(count)

    return DropIntake(kit.spool, kit.settings, dataclasses.replace(kit.clock, token_bytes=take_long))


def count_tasks_by_round(kit: SpoolKit, drops: DropIntake, rounds: int) -> list[int]:
    counts = []
    for _ in range(rounds):
        drops.scan()
        counts.append(len(kit.tasks()))
    return counts


def test_many_drops_are_taken_over_some_rounds_so_that_what_is_active_is_not_kept_waiting(kit: SpoolKit) -> None:
    fill(kit, 3)

    assert count_tasks_by_round(kit, slow_drops(kit), 3) == [1, 2, 3]
    assert not list(kit.spool.drop.glob("*.ready"))


def test_a_round_that_looks_at_drops_for_long_takes_them_for_as_long(
    kit: SpoolKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_for_long(source: drop_contents.DropSource) -> drop_contents.DropContents:
        kit.now_s += 2
        return drop_contents.read_drop(source)

    monkeypatch.setattr(drops_module, "read_drop", read_for_long)
    fill(kit, 3)

    assert count_tasks_by_round(kit, slow_drops(kit), 1) == [2]


def test_a_change_within_a_tick_of_the_file_systems_clock_is_seen(
    kit: SpoolKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size and times are the same before and after it: only a second look into the file shows it."""

    def read_coarsely(folder: Folder, name: str) -> FileStamp:
        return read_stamp(folder, name)._replace(mtime_ns=1, ctime_ns=1)

    for module in (drop_contents, file_stamp):
        monkeypatch.setattr(module, "read_stamp", read_coarsely)
    kit.drop("run.json", b"{" * len(CONFIG))
    kit.drop("train.py", SCRIPT)
    drops = drops_of(kit)
    drops.scan()
    kit.drop("run.json", CONFIG)
    pass_s(kit, drops, 30)

    check_one_task(kit)


def test_what_has_stood_still_is_not_read_again_until_it_changes(
    kit: SpoolKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []

    def count(source: drop_contents.DropSource) -> drop_contents.DropContents:
        reads.append(source.name)
        return read_drop(source)

    read_drop = drop_contents.read_drop
    monkeypatch.setattr(drops_module, "read_drop", count)
    kit.drop("run.json", CONFIG)  # its script is not there yet: it waits for ten minutes
    drops = drops_of(kit)
    pass_s(kit, drops, 30)
    reads.clear()
    pass_s(kit, drops, 100)
    assert reads == []

    kit.drop("train.py", SCRIPT)
    pass_s(kit, drops, 30)
    assert reads
    check_one_task(kit)
