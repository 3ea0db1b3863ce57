import subprocess
import sys
from pathlib import Path

import pytest

from lab.processes import is_running, read_process, wait_until
from lab.standin import control
from lab.standin.control import Standin, set_faults
from tests.lab.calls import call, read_state, submit, wait_state

pytestmark = pytest.mark.standin
SUBMIT = ("sbatch", "--parsable", "--output=/dev/null", "--wrap", "sleep 1000")


@pytest.mark.parametrize("mode", ["accept_and_time_out", "accept_late"])
def test_a_job_can_exist_though_sbatch_failed(standin: Standin, mode: str) -> None:
    set_faults(standin, {"command": "sbatch", "mode": mode, "seconds": 0.3, "count": 1})
    done = call(standin, *SUBMIT)

    assert (done.returncode, done.stdout) == (1, "")
    assert "Socket timed out on send/recv operation" in done.stderr
    assert wait_until(lambda: len(control.list_jobs(standin)) == 1, timeout_s=10)


def test_an_id_that_was_printed_can_be_forgotten(standin: Standin) -> None:
    set_faults(standin, {"command": "sbatch", "mode": "forget", "count": 1})

    assert call(standin, *SUBMIT).stdout == "1\n"
    assert control.list_jobs(standin) == []
    assert call(standin, *SUBMIT).stdout == "2\n"


def test_an_id_can_be_given_to_another_job(standin: Standin) -> None:
    first = submit(standin, "sleep 1000", "--job-name=first")
    set_faults(standin, {"command": "sbatch", "mode": "reuse_id", "count": 1})

    assert submit(standin, "sleep 1000", "--job-name=second") == first
    assert call(standin, "squeue", "-h", "-o", "%i %j").stdout == f"{first} second\n"


def test_a_fault_can_befall_only_calls_with_a_word(standin: Standin) -> None:
    set_faults(standin, {"command": "sbatch", "mode": "error", "argument": "^--job-name=.*-a01$"})

    assert call(standin, *SUBMIT, "--job-name=x-a01").returncode == 1
    assert call(standin, *SUBMIT, "--job-name=x-a02").returncode == 0


def test_a_job_can_start_twice_under_one_id(standin: Standin, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    set_faults(standin, {"command": "start", "mode": "start_twice", "count": 1})
    job_id = submit(standin, f"echo $SLURM_JOB_ID ${{SLURM_RESTART_COUNT:-0}} >>{marks}; sleep 1000")

    expected = f"{job_id} 0\n" * 2
    assert wait_until(lambda: marks.exists() and marks.read_text() == expected, timeout_s=10)
    assert read_state(standin, job_id) == "RUNNING"


@pytest.mark.parametrize(
    ("mode", "code", "is_whole"), [("fail", 1, False), ("empty", 0, False), ("cut", 0, False), ("garbage", 0, False)]
)
def test_a_list_can_be_wrong_in_four_ways(standin: Standin, mode: str, code: int, *, is_whole: bool) -> None:
    job_id = submit(standin, "sleep 1000")
    argv = ("squeue", "-h", "-o", "%i|%T|%j|end")
    set_faults(standin, {"command": "squeue", "mode": mode, "count": 1})
    done = call(standin, *argv)

    assert done.returncode == code
    assert (f"{job_id}|" in done.stdout and done.stdout.endswith("|end\n")) is is_whole
    assert call(standin, *argv).stdout.endswith("|end\n")


def test_a_list_can_be_in_good_form_and_say_that_there_is_no_job(standin: Standin) -> None:
    job_id = submit(standin, "sleep 1000")
    argv = ("squeue", "-o", "%i|%T|%j|end")
    set_faults(standin, {"command": "squeue", "mode": "none", "count": 1})
    lies, truth = call(standin, *argv), call(standin, *argv)

    assert (lies.returncode, lies.stdout) == (0, truth.stdout.splitlines(keepends=True)[0])
    assert truth.stdout.splitlines()[1].startswith(f"{job_id}|")


def test_a_hanging_command_holds_its_output_open_by_a_child(standin: Standin) -> None:
    set_faults(standin, {"command": "squeue", "mode": "hang", "count": 1, "seconds": 2})
    with subprocess.Popen([standin.bin_dir / "squeue"], stdout=subprocess.PIPE) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=0.5)
        process.kill()
        assert process.communicate(timeout=20)[0] == b""


def test_a_time_limit_warns_then_ends_the_job(standin: Standin, tmp_path: Path) -> None:
    control.change_settings(standin, minute_s=1)
    marks = tmp_path / "marks"
    script = f"trap 'echo warned >>{marks}' USR1; trap 'echo term >>{marks}; exit 0' TERM; while :; do sleep 0.05; done"
    job_id = submit(standin, script, "--time=1", "--signal=B:USR1@30")

    wait_state(standin, job_id, "TIMEOUT")
    assert marks.read_text() == "warned\nterm\n"


def test_what_ignores_term_is_killed_after_kill_wait(standin: Standin, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    job_id = submit(standin, f"trap '' TERM; env -i sleep 1000 & echo $! >{mark}; wait")
    assert wait_until(lambda: mark.exists() and mark.read_text().endswith("\n"), timeout_s=10)
    process = read_process(int(mark.read_text()))

    call(standin, "scancel", job_id)
    wait_state(standin, job_id, "CANCELLED")
    assert process is not None
    assert wait_until(lambda: not is_running(process), timeout_s=5)


def test_a_requeued_job_starts_again_and_knows_it(standin: Standin, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    job_id = submit(standin, f"echo ${{SLURM_RESTART_COUNT:-none}} >>{marks}; sleep 1000")
    assert wait_until(lambda: marks.exists() and marks.read_text() == "none\n", timeout_s=10)

    assert call(standin, "scontrol", "requeue", job_id).returncode == 0
    assert wait_until(lambda: marks.read_text() == "none\n1\n", timeout_s=10)


def test_a_job_can_be_lost_with_its_node(standin: Standin) -> None:
    job_id = submit(standin, "sleep 1000")
    wait_state(standin, job_id, "RUNNING")

    control.end_job(standin, int(job_id), "NODE_FAIL")
    wait_state(standin, job_id, "NODE_FAIL")


def test_every_call_leaves_a_line(standin: Standin) -> None:
    call(standin, "squeue", "-h")
    call(standin, "sinfo")

    assert [made["arguments"] for made in control.read_calls(standin, "squeue")] == [["-h"]]


def test_a_path_with_spaces_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a place"
    folder.mkdir()
    (folder / "python").symlink_to(Path(sys.executable).resolve())
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    with control.running_standin(folder / "standin") as standin:
        wait_state(standin, submit(standin, "true", "--job-name=a name"), "COMPLETED")
