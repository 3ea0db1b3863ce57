"""Drops: nothing half-written is started, nothing whole is missed, and what is wrong is said and kept."""

import dataclasses
import hashlib
import secrets
from collections.abc import Callable

import pytest

from agent.intake import drop_checksums, drop_contents, drop_script, drop_task
from agent.intake import drops as drops_module
from agent.intake.drops import Drops
from agent.intake.quiet_time import Entry
from mltm.runtime.hostile_files import Folder
from tests.agent.spool.build import CONFIG, SCRIPT, Hands


def drops_of(hands: Hands) -> Drops:
    return Drops(hands.spool, hands.settings, hands.clock)


def pass_s(hands: Hands, drops: Drops, seconds: int) -> list[str]:
    said = drops.scan()
    for _ in range(0, seconds, 10):
        hands.now_s += 10
        said += drops.scan()
    return said


def check_one_task(hands: Hands) -> None:
    (task_id,) = hands.tasks()
    manifest = hands.manifest(task_id)
    assert (hands.spool.task(task_id).input / "entrypoint.py").read_bytes() == SCRIPT
    assert (manifest.source, manifest.owner, manifest.script_name) == ("drop", "", "train.py")
    assert (hands.spool.active / task_id).exists()
    assert not list(hands.spool.taking.iterdir())
    assert not hands.staged()


def test_files_without_a_word_are_taken_when_they_were_quiet(hands: Hands) -> None:
    hands.drop("run.json", CONFIG)
    hands.drop("train.py", SCRIPT)
    drops = drops_of(hands)
    pass_s(hands, drops, 20)
    assert not hands.tasks()
    assert drops.is_watching
    assert pass_s(hands, drops, 10) == []
    check_one_task(hands)
    assert not drops.is_watching


def test_a_sentinel_says_whole_at_once_and_goes_with_its_drop(hands: Hands) -> None:
    hands.drop("run.json", CONFIG)
    hands.drop("train.py", SCRIPT)
    hands.drop("run.json.ready", b"")
    drops_of(hands).scan()
    check_one_task(hands)
    assert not (hands.spool.drop / "run.json.ready").exists()


def test_a_folder_that_is_called_ready_is_taken_at_once(hands: Hands) -> None:
    hands.drop("night.ready/config.json", CONFIG)
    hands.drop("night.ready/train.py", SCRIPT)
    hands.drop("night.ready/rows.csv", b"1,2\n")
    drops_of(hands).scan()
    check_one_task(hands)
    assert (hands.spool.task(hands.tasks()[0]).input / "rows.csv").read_bytes() == b"1,2\n"
    assert not (hands.spool.drop / "night.ready").exists()


@pytest.mark.parametrize("is_right", [True, False])
def test_checksums_say_whole_at_once_only_where_they_are_right(hands: Hands, is_right: bool) -> None:
    parts = {"config.json": CONFIG, "train.py": SCRIPT}
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}" for name, data in parts.items()]
    for name, data in parts.items():
        hands.drop(f"night/{name}", data)
    hands.drop("night/MANIFEST.sha256", "\n".join(lines if is_right else lines[:1]).encode())
    drops = drops_of(hands)
    drops.scan()
    drops.scan()
    assert bool(hands.tasks()) is is_right
    pass_s(hands, drops, 30)
    check_one_task(hands)


def test_files_that_still_grow_are_not_hashed_and_none_is_hashed_twice_for_nothing(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []

    def hash_counted(folder: Folder, name: str, read: Callable[[Folder, str], str] = drop_checksums._hash) -> str:
        hashed.append(name)
        return read(folder, name)

    monkeypatch.setattr(drop_checksums, "_hash", hash_counted)
    parts = {"config.json": CONFIG, "train.py": SCRIPT}
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}" for name, data in parts.items()]
    hands.drop("night/config.json", CONFIG)
    hands.drop("night/MANIFEST.sha256", "\n".join(lines).encode())
    drops = drops_of(hands)
    for number in range(1, 5):
        hands.drop("night/train.py", SCRIPT[:number])
        drops.scan()
    assert hashed == []
    for _ in range(5):
        drops.scan()
    assert hashed == ["config.json", "train.py"]
    hands.drop("night/train.py", SCRIPT)
    drops.scan()
    drops.scan()
    check_one_task(hands)


def test_a_sentinel_older_than_what_it_names_is_no_sign(hands: Hands) -> None:
    hands.drop("run.json.ready", b"")
    came_ns = (hands.spool.drop / "run.json.ready").stat().st_ctime_ns
    while hands.drop("run.json", CONFIG).stat().st_ctime_ns == came_ns:
        pass  # the file system's clock ticks every few milliseconds
    hands.drop("train.py", SCRIPT)
    drops = drops_of(hands)
    pass_s(hands, drops, 20)
    assert not hands.tasks()
    pass_s(hands, drops, 10)
    check_one_task(hands)
    assert not (hands.spool.drop / "run.json.ready").exists()


def test_what_is_still_written_is_never_started(hands: Hands) -> None:
    hands.drop("run.json", CONFIG)
    drops, script = drops_of(hands), hands.drop("train.py", b"")
    for number in range(1, 40):
        script.write_bytes(b"#" * number)
        hands.now_s += 10
        drops.scan()
    assert not hands.tasks()
    script.write_bytes(SCRIPT)
    pass_s(hands, drops, 40)
    check_one_task(hands)


def test_names_of_editors_and_of_copies_on_the_way_are_left_alone(hands: Hands) -> None:
    names = [".run.json.Xy12", "run.json~", "run.json.part", "run.json.tmp", "#run.json#", ".nfs0001"]
    for name in names:
        hands.drop(name, CONFIG)
    assert pass_s(hands, drops_of(hands), 700) == []
    assert sorted(path.name for path in hands.spool.drop.iterdir()) == sorted(names)


@pytest.mark.parametrize("name", ["a b.json", "-n.json", "two\nlines.json", "\udcff.json"])
def test_an_odd_name_of_a_config_is_no_trouble(hands: Hands, name: str) -> None:
    hands.drop(name, CONFIG)
    hands.drop("train.py", SCRIPT)
    pass_s(hands, drops_of(hands), 30)
    check_one_task(hands)


def test_the_same_content_dropped_again_is_a_new_task(hands: Hands) -> None:
    drops = drops_of(hands)
    for _ in range(2):
        hands.drop("train.py", SCRIPT)
        hands.drop("run.json", CONFIG)
        pass_s(hands, drops, 30)
    assert len(hands.tasks()) == 2


@pytest.mark.parametrize(("config", "message"), [(CONFIG[:50], "JSON"), (CONFIG, "train.py")])
def test_a_drop_that_never_becomes_whole_is_given_up_after_ten_minutes(
    hands: Hands, config: bytes, message: str
) -> None:
    hands.drop("run.json", config)
    drops = drops_of(hands)
    assert pass_s(hands, drops, 590) == []
    assert message in pass_s(hands, drops, 20)[0]
    assert message in hands.manifest(hands.tasks()[0]).fault


def test_a_script_that_changes_during_the_copy_waits_for_quiet_again(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands.drop("night.ready/config.json", CONFIG)
    hands.drop("night.ready/train.py", b"print(")
    copy = drop_task._copy_all

    def write_meanwhile(*arguments: object) -> object:
        monkeypatch.undo()
        listed = copy(*arguments)  # type: ignore[arg-type]  # handed through
        next(hands.spool.taking.rglob("train.py")).write_bytes(SCRIPT)
        return listed

    monkeypatch.setattr(drop_task, "_copy_all", write_meanwhile)
    drops = drops_of(hands)
    drops.scan()
    assert not hands.tasks()
    assert drops.is_watching
    pass_s(hands, drops, 20)
    assert not hands.tasks()
    pass_s(hands, drops, 20)
    check_one_task(hands)


def fill(hands: Hands, count: int) -> None:
    for number in range(count):
        hands.drop(f"run{number:02}.json", CONFIG.replace(b"train.py", b"train%d.py" % number))
        hands.drop(f"train{number}.py", SCRIPT)
        hands.drop(f"run{number:02}.json.ready", b"")


def test_each_of_many_drops_is_read_a_few_times_and_not_once_for_every_other(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []

    def count(source: drop_contents.Source) -> drop_contents.DropView:
        reads.append(source.name)
        return look_into(source)

    look_into = drop_contents.look_into
    for module in (drops_module, drop_task, drop_script):
        monkeypatch.setattr(module, "look_into", count)
    fill(hands, 30)
    drops_of(hands).scan()

    assert len(hands.tasks()) == 30
    assert max(reads.count(name) for name in set(reads)) <= 4


def slow_drops(hands: Hands) -> Drops:
    """Takes two seconds for each drop that is taken: an id is made once for each."""

    def take_long(count: int) -> bytes:
        hands.now_s += 2 if count == 10 else 0
        return secrets.token_bytes(count)

    return Drops(hands.spool, hands.settings, dataclasses.replace(hands.clock, token_bytes=take_long))


def count_tasks_by_round(hands: Hands, drops: Drops, rounds: int) -> list[int]:
    counts = []
    for _ in range(rounds):
        drops.scan()
        counts.append(len(hands.tasks()))
    return counts


def test_many_drops_are_taken_over_some_rounds_so_that_what_is_active_is_not_kept_waiting(hands: Hands) -> None:
    fill(hands, 3)

    assert count_tasks_by_round(hands, slow_drops(hands), 3) == [1, 2, 3]
    assert not list(hands.spool.drop.glob("*.ready"))


def test_a_round_that_looks_at_drops_for_long_takes_them_for_as_long(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_long(source: drop_contents.Source) -> drop_contents.DropView:
        hands.now_s += 2
        return drop_contents.look_into(source)

    monkeypatch.setattr(drops_module, "look_into", look_long)
    fill(hands, 3)

    assert count_tasks_by_round(hands, slow_drops(hands), 1) == [2]


def test_a_change_within_a_tick_of_the_file_systems_clock_is_seen(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size and times are the same before and after it: only a second look into the file shows it."""

    def read_coarsely(folder: Folder, name: str) -> Entry:
        return (*read_entry(folder, name)[:2], 1, 1)

    read_entry = drop_contents.read_entry
    monkeypatch.setattr(drop_contents, "read_entry", read_coarsely)
    hands.drop("run.json", b"{" * len(CONFIG))
    hands.drop("train.py", SCRIPT)
    drops = drops_of(hands)
    drops.scan()
    hands.drop("run.json", CONFIG)
    pass_s(hands, drops, 30)

    check_one_task(hands)


def test_what_has_stood_still_is_not_read_again_until_it_changes(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []

    def count(source: drop_contents.Source) -> drop_contents.DropView:
        reads.append(source.name)
        return look_into(source)

    look_into = drop_contents.look_into
    monkeypatch.setattr(drops_module, "look_into", count)
    hands.drop("run.json", CONFIG)  # its script is not there yet: it waits for ten minutes
    drops = drops_of(hands)
    pass_s(hands, drops, 30)
    reads.clear()
    pass_s(hands, drops, 100)
    assert reads == []

    hands.drop("train.py", SCRIPT)
    pass_s(hands, drops, 30)
    assert reads
    check_one_task(hands)
