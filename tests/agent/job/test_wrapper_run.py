"""While the code runs and when it ended: codes, its surroundings, its output, memory kills, the image's marker."""

import os
import re
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from agent.job.wrapper import WRAPPER
from lab.processes import wait_until
from mltm.contract.journal_records import Exit
from mltm.contract.spool_layout import PIECE_BYTES
from tests.agent.job.running import (
    Prepared,
    finish,
    prepare,
    read_exit,
    read_kinds,
    read_log,
    read_session,
    run,
    started,
    wait_log,
)

WAIT_FOR_GO = "import os, time\nprint('up', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.02)\n"


@pytest.mark.parametrize("code", [0, 1, 3, 75, 127])
def test_the_codes_own_code_is_recorded_and_passed_on(tmp_path: Path, code: int) -> None:
    task = prepare(tmp_path, f"import sys; print('hi'); sys.exit({code})")

    assert run(task) == code
    ended = read_exit(task)
    assert (ended.code, ended.stop_signals, ended.stopped_for_beat, ended.image_started) == (code, [], False, None)
    assert (ended.job_id, ended.node) == ("7", "n1")
    assert read_log(task) == b"hi\n"
    assert read_kinds(task) == {"job": 1, "exit": 1}
    assert (task.spool.bell / task.folder.task_id).exists()


def test_code_that_kills_itself_is_137_without_a_stop_signal(tmp_path: Path) -> None:
    task = prepare(tmp_path, "import os; os.kill(os.getpid(), 9)")

    assert run(task) == 137
    assert (read_exit(task).code, read_exit(task).stop_signals) == (137, [])


def test_wiping_its_own_folders_does_not_cost_the_exit_record(tmp_path: Path) -> None:
    folders = ("work", "outputs", "logs", "input", "checkpoint")
    task = prepare(tmp_path, f"import shutil; [shutil.rmtree('../' + name) for name in {folders}]; raise SystemExit(4)")

    assert run(task) == 4
    assert read_exit(task).code == 4


def test_the_code_gets_its_arguments_and_variables_byte_for_byte(tmp_path: Path) -> None:
    odd = ["argv=a b", "task=", "record=$(touch mark)", "LINES='\n`x`", "code_pid=1", "LC_ALL=POSIX", "nonce=\udcff"]
    code = "import os, sys\nfor item in sys.argv[1:]: sys.stdout.buffer.write(os.getenvb(item.encode()) + b'|')"
    task = prepare(tmp_path, code, env=odd)
    names = [item.partition("=")[0] for item in odd]
    with task.records.argv.open("ab") as stream:
        stream.write(b"".join(name.encode() + b"\0" for name in names))

    assert run(task) == 0
    assert read_log(task) == b"".join(os.fsencode(item.partition("=")[2]) + b"|" for item in odd)
    assert not (task.folder.work / "mark").exists()
    assert read_exit(task).code == 0


def test_the_code_sees_its_folder_its_umask_and_no_open_record(tmp_path: Path) -> None:
    code = (
        "import os\nopen('made', 'w')\nprint(os.getcwd(), os.umask(0), os.path.realpath('/dev/fd/0'))\n"
        "print(sorted(os.listdir('/proc/self/fd'))[:-1], os.environ.get('LC_ALL'))"
    )
    task = prepare(tmp_path, code)
    before = os.umask(0o027)
    try:
        assert run(task, LC_ALL="C.UTF-8") == 0
    finally:
        os.umask(before)

    assert read_log(task).decode() == f"{task.folder.work} 23 /dev/null\n['0', '1', '2'] C.UTF-8\n"
    assert (task.folder.work / "made").stat().st_mode & 0o777 == 0o640


def test_the_wrapper_cuts_a_log_where_the_agent_reads_it() -> None:
    assert re.findall(r"\bPIECE_BYTES=(\d+)", WRAPPER.read_text(encoding="utf-8")) == [str(PIECE_BYTES)]


def test_a_long_log_keeps_head_and_tail_and_drops_the_middle(tmp_path: Path) -> None:
    task = prepare(tmp_path, "for n in range(9 << 16): print(f'{n:015d}')")

    assert run(task) == 0
    pieces = {path.name: path.stat().st_size for path in task.folder.attempt_logs(1).iterdir()}
    kept = ["out.000000", "out.000001", "out.000008"]
    assert [name for name, size in sorted(pieces.items()) if size] == kept
    for name in kept:
        first = int(name[-6:]) * PIECE_BYTES // 16
        assert (task.folder.attempt_logs(1) / name).read_text().startswith(f"{first:015d}\n")
        assert pieces[name] == PIECE_BYTES
    assert read_log(task).endswith(f"{(9 << 16) - 1:015d}\n".encode())


def test_a_background_process_that_holds_the_log_is_not_waited_for(tmp_path: Path) -> None:
    code = "import subprocess as s; print(s.Popen(['sleep', '60'], start_new_session=True).pid)"
    task = prepare(tmp_path, code)
    try:
        with started(task) as process:
            assert finish(process) == 0
            assert read_session(process) == []
        assert read_exit(task).elapsed_s < 20
    finally:
        with suppress(ProcessLookupError):
            os.kill(int(read_log(task)), signal.SIGKILL)


def test_children_of_the_code_do_not_outlive_it(tmp_path: Path) -> None:
    task = prepare(tmp_path, "import subprocess as s; s.Popen(['sleep', '60']); print('bye')")

    with started(task) as process:
        assert finish(process) == 0
        assert read_session(process) == []
    assert read_log(task) == b"bye\n"


def test_output_is_on_disk_while_the_code_runs_and_nothing_outlives_a_killed_wrapper(tmp_path: Path) -> None:
    task = prepare(tmp_path, WAIT_FOR_GO)

    with started(task) as process:
        wait_log(task, "up")
        assert wait_until(task.records.beat.exists, timeout_s=10)
        process.kill()
        finish(process)
        assert wait_until(lambda: read_session(process) == [], timeout_s=15), read_session(process)
    assert read_log(task) == b"up\n"
    assert not task.records.exit.exists()


@pytest.mark.parametrize("has_started", [True, False])
def test_the_images_marker_tells_whether_the_image_started(tmp_path: Path, has_started: bool) -> None:
    task = prepare(tmp_path, "import sys; sys.exit(9)", has_image=True)
    if has_started:
        (task.folder.control / "started.01").mkdir()
        (task.folder.control / "started.01" / "image").touch()

    run(task)

    assert Exit.model_validate_json(task.records.exit.read_bytes()).image_started is has_started


def as_attempt_2(task: Prepared) -> Prepared:
    for kind in ("intent", "argv", "env", "checks"):
        (task.folder.control / f"{kind}.01").rename(task.folder.control / f"{kind}.02")
    return replace(task, args=(*task.args[:2], "02", *task.args[3:]))


def test_temporary_folders_of_this_attempt_and_of_former_ones_go_and_no_link_in_them_is_followed(
    tmp_path: Path,
) -> None:
    task = as_attempt_2(prepare(tmp_path / "spool", "import sys; sys.exit(9)", has_image=True))
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    for number in (1, 2, 3):
        inside = task.folder.attempt_tmp(number) / "tmp" / "deep"
        inside.mkdir(parents=True)
        (inside / "big").write_bytes(bytes(1000))
        (inside / "link").symlink_to(kept)
    (task.folder.work / "tmp.01").mkdir()

    assert run(task) == 9

    assert sorted(path.name for path in task.folder.path.glob("tmp.*")) == ["tmp.03"]
    assert (kept / "file").exists()
    assert (task.folder.work / "tmp.01").is_dir()
    assert Exit.model_validate_json(task.folder.attempt(2).exit.read_bytes()).code == 9


def test_a_link_in_the_place_of_a_temporary_folder_goes_and_what_it_names_stays(tmp_path: Path) -> None:
    task = prepare(tmp_path / "spool", "", has_image=True)
    (tmp_path / "kept").mkdir()
    task.folder.attempt_tmp(1).symlink_to(tmp_path / "kept")

    assert run(task) == 0

    assert not task.folder.attempt_tmp(1).is_symlink()
    assert (tmp_path / "kept").is_dir()


MEMORY = [
    ("0::/a/job\n", "a/job/memory.events", "low 0\noom {n}\noom_kill {n}\noom_group_kill 0\n", 3),
    ("9:cpu:/x\n4:memory:/slurm/job\n0::/u\n", "memory/slurm/job/memory.oom_control", "under_oom 0\noom_kill {n}\n", 3),
    ("4:cpu,memory:/slurm/job\n", "memory/slurm/job/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n", None),
    ("0::/gone\n", "other/memory.events", "oom_kill {n}\n", None),
]


@pytest.mark.parametrize(("listing", "counter", "text", "kills"), MEMORY)
def test_memory_kills_are_the_difference_of_the_cgroups_counter(
    tmp_path: Path, listing: str, counter: str, text: str, kills: int | None
) -> None:
    mount, listed, script = tmp_path / "cgroup", tmp_path / "listed", tmp_path / "wrapper.sh"
    (mount / counter).parent.mkdir(parents=True)
    (mount / counter).write_text(text.format(n=2))
    listed.write_text(listing)
    ready = prepare(tmp_path, f"open({str(mount / counter)!r}, 'w').write({text.format(n=5)!r})")
    own = "cgroup_list=/proc/self/cgroup cgroup_mount=/sys/fs/cgroup"
    script.write_text(ready.script.read_text().replace(own, f"cgroup_list={listed} cgroup_mount={mount}"))
    script.chmod(0o755)

    run(Prepared(ready.spool, ready.folder, ready.args, script))

    assert read_exit(ready).oom_kills == kills
