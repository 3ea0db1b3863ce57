"""The file system that fails and lies, and the clocks that jump: each does to a process what it says."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chaos.ground.trial_ground import SHARED, open_view, own_clocks, set_clock
from chaos.ground.writes import WritePlan, count_lies, read_met, set_write_plans

TASK_ID = "01a20ee6f2df7bf8b64120d8bcf56f39"
WRITE = f"cd tasks/{TASK_ID} && printf '%s\\n' whole >record"  # create and write: the second operation is the write
TELL_CLOCKS = """
import sys, time
for line in sys.stdin:
    print(int(time.time()), int(time.clock_gettime(time.CLOCK_BOOTTIME)), flush=True)
"""


@contextmanager
def open_pair(tmp_path: Path, *, stale_s: float = 0.0, shared: str = "") -> Iterator[tuple[Path, Path, Path]]:
    real, view, plans = tmp_path / "real", tmp_path / "view", tmp_path / "plans"
    (real / "tasks" / TASK_ID).mkdir(parents=True)
    with open_view(real, view, plans, stale_s=stale_s, shared=shared):
        yield real / "tasks" / TASK_ID, view, plans


@pytest.mark.parametrize(
    ("outcome", "exit_code", "left"),
    [
        ("error-before", 1, b""),
        ("error-after", 1, b"whole\n"),
        ("full", 1, b""),
        ("torn", 1, b"who"),
        ("kill-before", -signal.SIGKILL, b""),
        ("kill-after", -signal.SIGKILL, b"whole\n"),
        ("kill-torn", -signal.SIGKILL, b"who"),
    ],
)
def test_the_planned_write_of_bash_itself_fails(tmp_path: Path, outcome: str, exit_code: int, left: bytes) -> None:
    with open_pair(tmp_path) as (real, view, plans):
        set_write_plans(plans, [WritePlan(2, outcome)])  # type: ignore[arg-type] # a table's words

        done = subprocess.run(["bash", "-c", WRITE], cwd=view, check=False, capture_output=True)

        assert (done.returncode, (real / "record").read_bytes()) == (exit_code, left)
        struck = [met for met in read_met(plans) if met.outcome != "-"]
        assert [(met.key, met.operation, met.outcome) for met in struck] == [(TASK_ID, "write", outcome)]


def test_without_a_plan_every_operation_is_passed_on_and_counted(tmp_path: Path) -> None:
    script = (
        "printf a >one && ln -T one two && mkdir sub && mv one sub/one && touch -d @7 two && sync -- two . && rm two"
    )
    with open_pair(tmp_path) as (real, view, plans):
        subprocess.run(["bash", "-c", script], cwd=view / "tasks" / TASK_ID, check=True)

        assert (real / "sub" / "one").read_bytes() == b"a"
        assert (real / "sub" / "one").stat().st_mtime == 7
        assert not (real / "two").exists()
        operations = [met.operation for met in read_met(plans)]
        assert operations == ["create", "write", "link", "mkdir", "rename", "utimens", "fsync", "fsyncdir", "unlink"]


def test_what_is_no_tasks_own_is_counted_by_place_and_kind_and_fails_by_plan(tmp_path: Path) -> None:
    script = "cd outbox && printf a >.new && ln -T .new 1.json; rm .new; touch ../gateway.sqlite-wal"
    with open_pair(tmp_path, shared=SHARED) as (real, view, plans):
        (view / "outbox").mkdir()
        set_write_plans(plans / "outbox" / "link", [WritePlan(1, "error-before")])

        subprocess.run(["bash", "-c", script], cwd=view, check=True, capture_output=True)

        assert list((real.parent.parent / "outbox").iterdir()) == []
        found = [(met.key, met.outcome) for met in read_met(plans)]
        made, written = ("outbox/create-private", "-"), ("outbox/write-private", "-")
        assert found == [
            ("outbox/mkdir", "-"), made, written, ("outbox/link", "error-before"), ("outbox/unlink-private", "-")
        ]  # fmt: skip


def test_old_names_are_served_and_links_are_decided_at_once(tmp_path: Path) -> None:
    with open_pair(tmp_path, stale_s=600) as (real, view, plans):
        mine = view / "tasks" / TASK_ID
        assert list(mine.iterdir()) == []
        assert not (mine / "claim").exists()
        (real / "claim").write_text("theirs")

        assert not (mine / "claim").exists()
        assert list(mine.iterdir()) == []
        assert count_lies(plans) == 1
        (mine / ".private").write_text("mine")
        with pytest.raises(FileExistsError):
            os.link(mine / ".private", mine / "claim")
        assert (mine / "claim").read_text() == "theirs"


def test_a_clock_jumps_while_its_process_runs_and_the_time_since_boot_does_not(tmp_path: Path) -> None:
    with own_clocks(tmp_path) as ground:
        env = {**os.environ, **ground.env("agent")}
        with subprocess.Popen(
            [sys.executable, "-c", TELL_CLOCKS], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            seen = []
            for ahead_s in (0, 86400, -3600):
                set_clock(tmp_path, "agent", ahead_s)
                process.stdin.write("\n")
                process.stdin.flush()
                seen.append([int(word) for word in process.stdout.readline().split()])
            process.stdin.close()
    (day, boot), (later, boot_later), (earlier, boot_last) = seen
    assert 86400 <= later - day < 86460
    assert -3600 <= earlier - day < -3540
    assert boot <= boot_later <= boot_last < boot + 60
